"""Files that a configuration names by digest: what every block of a run reads is what the cell stands for."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.errors import UserError


def digest(path: str) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held(config: Mapping[str, Any]) -> Iterator[None]:
    """Around the building of whatever reads the files of a configuration. Raises UserError where a file is not, before
    and after, the one that the configuration names."""
    _check(config.get("files") or {})
    yield
    _check(config.get("files") or {})


def _check(files: Mapping[str, str]) -> None:
    for path, named in files.items():
        try:
            changed = digest(path) != named
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; put the file back, as it was when the run began") from error
        if changed:
            raise UserError(
                f"{path} was changed during the run; put it back, or run the command again for the new file"
            )
