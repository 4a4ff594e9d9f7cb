"""Disks that fail: one that loses its power before any file operation, and one that is full from the n-th on."""

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHANGES = ("open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "remove", "rmdir")


@dataclass
class Node:
    """A file or folder: what a running system sees of it, and what is on the disk since its last fsync."""

    entries: dict[str, "Node"] | None = None  # of a folder
    kept: dict[str, "Node"] = field(default_factory=dict)
    data: bytes = b""
    synced: bytes = b""


class PowerLoss:
    """The file operations below `root`, replayed on a disk that keeps no more than it was told to.

    A file has the bytes of its last fsync. A folder has the names of its last fsync, or those it has now: a file system
    may write names at any time, and either must do.
    """

    def __init__(self, root: Path, crashed: Callable[["PowerLoss"], None]) -> None:
        self.root, self.crashed = str(root), crashed
        self.disk = Node({})
        self.files: dict[int, Node] = {}

    def state(self, into: Path, dice: random.Random | None) -> None:
        """The disk as it may be found now, written to a folder. `dice` draws which names each folder has; without it,
        those of the last fsync."""

        def put(node: Node, at: Path) -> None:
            if node.entries is None:
                at.write_bytes(node.synced)
                return
            at.mkdir(exist_ok=True)
            now = dice is not None and dice.random() < 0.7
            for name, inner in (node.entries if now else node.kept).items():
                put(inner, at / name)

        put(self.disk, into)

    def _split(self, path: Any, folder: int | None) -> tuple[Node, str] | None:
        name = os.fspath(path)
        if folder is not None:
            name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
        if name != self.root and not name.startswith(self.root + "/"):
            return None
        parts = name[len(self.root) :].strip("/").split("/")
        node = self.disk
        for part in parts[:-1]:
            if node.entries is None or part not in node.entries:
                return None
            node = node.entries[part]
        return node, parts[-1]

    def _node(self, path: Any, folder: int | None = None) -> Node | None:
        found = self._split(path, folder)
        if found is None or found[0].entries is None:
            return None
        return found[0].entries.get(found[1]) if found[1] else self.disk

    @contextmanager
    def watched(self) -> Iterator[None]:
        real = {name: getattr(os, name) for name in CHANGES}

        def watch(name: str) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                below = self._about(name, arguments, options)
                if below:
                    for each, function in real.items():
                        setattr(os, each, function)
                    try:
                        self.crashed(self)
                    finally:
                        for each in CHANGES:
                            setattr(os, each, watch(each))
                before = self._split(arguments[0], options.get("dir_fd")) if name in ("rename", "replace") else None
                result = None if below and name == "fsync" else real[name](*arguments, **options)  # it takes its time
                if below:
                    self._follow(name, arguments, options, result, before)
                return result

            return call

        for name in CHANGES:
            setattr(os, name, watch(name))
        try:
            yield
        finally:
            for name, function in real.items():
                setattr(os, name, function)

    def _about(self, name: str, arguments: tuple, options: dict) -> bool:
        if name in ("write", "fsync"):
            return arguments[0] in self.files
        return self._split(arguments[0], options.get("dir_fd")) is not None

    def _follow(self, name: str, arguments: tuple, options: dict, result: Any, before: Any) -> None:
        folder = options.get("dir_fd")
        if name == "open":
            found = self._split(arguments[0], folder)
            assert found is not None
            if arguments[1] & os.O_CREAT:
                assert found[0].entries is not None
                found[0].entries.setdefault(found[1], Node())
            node = self._node(arguments[0], folder)
            if node is not None:
                self.files[result] = node
        elif name == "write":
            self.files[arguments[0]].data += bytes(arguments[1][:result])
        elif name == "fsync":
            node = self.files[arguments[0]]
            node.synced = node.data
            node.kept = dict(node.entries or {})
        else:
            parent, last = self._split(arguments[0], folder) or before
            assert parent.entries is not None
            if name == "mkdir":
                parent.entries[last] = Node({})
            elif name in ("rename", "replace"):
                target, new = self._split(arguments[1], None) or (None, "")
                assert target is not None
                assert target.entries is not None
                target.entries[new] = parent.entries.pop(last)
            else:
                parent.entries.pop(last, None)


@contextmanager
def full_from(number: int, root: Path, once: bool = False) -> Iterator[list[str]]:
    """The n-th operation below `root` that takes room, and those after it (unless `once`), find no space. Gives the
    operations that did."""
    real = {name: getattr(os, name) for name in ("open", "write", "fsync", "rename", "replace", "mkdir")}
    ours: set[int] = set()
    left, failed = number, list[str]()

    def watch(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            inside = arguments[0] in ours if name in ("write", "fsync") else str(arguments[0]).startswith(str(root))
            takes = inside and (name != "open" or arguments[1] & os.O_CREAT)
            if takes:
                left -= 1
                if left == -1 or (left < 0 and not once):
                    failed.append(name)
                    where = () if name in ("write", "fsync") else (str(arguments[0]),)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *where)
            result = None if inside and name == "fsync" else real[name](*arguments, **options)  # it takes its time
            if name == "open":
                (ours.add if inside else ours.discard)(result)
            return result

        return call

    for name in real:
        setattr(os, name, watch(name))
    try:
        yield failed
    finally:
        for name, function in real.items():
            setattr(os, name, function)
