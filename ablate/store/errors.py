"""Files of the store that are not what they should be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablate.errors import UserError
from ablate.files import UnsafeFileError, user_errors


class CorruptFileError(UserError):
    """A file of the store is not what it should be: `flaw` says which and how."""

    def __init__(self, flaw: str) -> None:
        super().__init__(f"{flaw}; run the same command again, which makes it anew")
        self.flaw = flaw


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Whatever a parser makes of a damaged file becomes CorruptFileError; trouble with the machine stays what it is."""
    try:
        with user_errors(path):
            yield path
    except UnsafeFileError as error:
        raise CorruptFileError(str(error)) from error
    except FileNotFoundError as error:
        raise CorruptFileError(f"{error.filename or path} is missing") from error
    except Exception as error:
        if isinstance(error, UserError | MemoryError) or getattr(error, "errno", None):
            raise
        raise CorruptFileError(f"{path} is damaged ({type(error).__name__})") from error
