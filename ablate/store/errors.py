"""Files of the store that are not what they should be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablate.files import NotPlain, refusing
from ablate.refusal import Refusal


class Damaged(Refusal):
    """A file of the store is not what it should be: `flaw` says which and how."""

    def __init__(self, flaw: str) -> None:
        super().__init__(f"{flaw}; run the same command again, which makes it anew")
        self.flaw = flaw


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Whatever a parser makes of a damaged file becomes Damaged; trouble with the machine stays what it is."""
    try:
        with refusing(path):
            yield path
    except NotPlain as error:
        raise Damaged(str(error)) from error
    except FileNotFoundError as error:
        raise Damaged(f"{error.filename or path} is missing") from error
    except Exception as error:
        if isinstance(error, Refusal | MemoryError) or getattr(error, "errno", None):
            raise
        raise Damaged(f"{path} is damaged ({type(error).__name__})") from error
