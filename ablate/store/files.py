"""Files as the store reads and writes them: what the user can mend is told in one line, what is damaged likewise."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ablate.refusal import Refusal

TROUBLES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "no space is left"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "permission denied"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is in the way of a folder"),
    errno.ENAMETOOLONG: "the name is too long",
}


class Damaged(Refusal):
    """A file of the store is not what it should be: `flaw` says which and how."""

    def __init__(self, flaw: str) -> None:
        super().__init__(f"{flaw}; run the same command again, which makes it anew")
        self.flaw = flaw


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what the user can mend about the outputs folder into a Refusal."""
    try:
        yield
    except OSError as error:
        if error.errno not in TROUBLES:
            raise
        where = error.filename or path
        raise Refusal(f"{TROUBLES[error.errno]}: {where}; type another folder: outputs=/somewhere/writable") from error


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Whatever a parser makes of a damaged file becomes Damaged; trouble with the machine stays what it is."""
    try:
        with refusing(path):
            yield path
    except FileNotFoundError as error:
        raise Damaged(f"{path} is missing") from error
    except Exception as error:
        if isinstance(error, Refusal | MemoryError) or getattr(error, "errno", None):
            raise
        raise Damaged(f"{path} is damaged ({type(error).__name__})") from error


def retrying(action: Callable[[], None]) -> None:
    """Try again when another process with the same seed moved the ground: swept our scratch, or a folder."""
    for _ in range(9):
        with suppress(FileNotFoundError, FileExistsError):
            return action()
    return action()


def entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where there is none, or not any more."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
