"""Files read with bounds, and written whole or not at all: the one home of both.

A file is written beside its place under a scratch name `<name>~<process>-<random>`, brought to the disk, renamed, and
its folder brought to the disk too. So a kill leaves the old file or the new one, a full disk the old one, and a loss of
power after `write` has returned, the new one.
"""

import errno
import io
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ablate.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ERRNO_MESSAGES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "no space is left"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "permission denied"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is in the way of a folder"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTEMPTY), "a folder is in the way"),
    errno.ELOOP: "a link is in the way",
    errno.EIO: "the disk reports an error",
    errno.ENAMETOOLONG: "the name is too long",
}
OUTPUTS = "type another folder: outputs=/somewhere/writable"
OUT = "choose another place with --out"
NO_FOLLOW = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


class UnsafeFileError(ValueError):
    """A link, a pipe, a device, or more bytes than such a file may have."""


@contextmanager
def user_errors(path: Path, remedy: str = OUTPUTS) -> Iterator[None]:
    """Turn what the user can mend about a folder into a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in ERRNO_MESSAGES:
            raise
        raise UserError(f"{ERRNO_MESSAGES[error.errno]}: {error.filename or path}; {remedy}") from error


@contextmanager
def opened(path: Path, limit: int) -> Iterator[BinaryIO]:
    """A regular file to read: never through a link, never waiting for a pipe, never more than `limit` bytes.

    Raises UnsafeFileError for anything else, and OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | NO_FOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise UnsafeFileError(f"{path} is a link or no regular file") from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
        os.close(descriptor)
        large = stat.S_ISREG(found.st_mode)
        raise UnsafeFileError(f"{path} has more than {limit:,} bytes" if large else f"{path} is no regular file")
    with open(descriptor, "rb") as file:
        yield file


def read(path: Path, limit: int) -> bytes:
    """All of it. Raises UnsafeFileError and OSError."""
    with opened(path, limit) as file:
        return file.read(limit)


def write(path: Path, content: bytes | str, remedy: str = "choose another place") -> None:
    """Replace a file by another, whole or not at all; makes its folder. Raises UserError, with the remedy, where the
    disk does not take it."""
    data = content.encode() if isinstance(content, str) else content
    with user_errors(path, remedy):
        make_folder(path.parent)
        put(scratch_name(path), path, data)


def scratch_name(path: Path) -> Path:
    """A path beside another that no other process uses."""
    return path.with_name(f"{path.name[:200]}~{os.getpid()}-{secrets.token_hex(4)}")


def put(scratch: Path, path: Path, *parts: bytes | memoryview) -> None:
    """Write a file as `scratch` and rename it to `path`, brought to the disk before and after. Raises OSError."""
    try:
        create(scratch, *parts)
        os.replace(scratch, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(scratch)
        if isinstance(error, OSError) and error.filename == str(scratch):
            error.filename = str(path)  # the name that the user knows
        raise
    sync_folder(path.parent)


def create(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file that was not there, and bring its bytes to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o666)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError as error:  # a descriptor has no name to tell
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each brought to the disk. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        os.mkdir(path)
        sync_folder(path.parent)
    if not stat.S_ISDIR(os.stat(path).st_mode):  # asked once: another process removes it and makes it again meanwhile
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder whose files are on the disk, so that a loss of power keeps it whole. Raises OSError."""
    sync_folder(source)
    os.rename(source, target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        with suppress(FileNotFoundError):  # another process has cleared it away
            sync_folder(source.parent)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk, where the file system can. Raises OSError."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS):
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def retrying(action: Callable[[], None]) -> None:
    """Try again when another process with the same seed moved the ground: swept our scratch, or a folder."""
    for attempt in range(9):
        with suppress(FileNotFoundError, FileExistsError):
            return action()
        time.sleep(0.001 * secrets.randbelow(2**attempt + 1))  # or processes in step with each other meet again
    try:
        return action()
    except FileNotFoundError as error:
        raise UserError(f"another process takes {error.filename} away again and again; let it end first") from error


def entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where there is none, or not any more."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def picture(figure: "Figure", kind: str) -> bytes:
    """A figure as png, pdf or svg. Letters in PDF are TrueType, which journals ask for; text in SVG is text."""
    from matplotlib import rc_context

    content = io.BytesIO()
    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
        figure.savefig(content, format=kind, dpi=150)
    return content.getvalue()
