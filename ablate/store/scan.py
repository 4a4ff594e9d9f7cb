"""What lies in a study: its cells, and what looks like one and is none.

A cell is what its config.yaml says, held against the hash in the folder's name. Of two folders with one configuration
the one whose name is made of its overrides is the cell, and the other a copy, which counts for nothing.
"""

from pathlib import Path
from typing import NamedTuple

from ablate.errors import UserError
from ablate.files import entries, user_errors
from ablate.store.cell import Cell, is_original
from ablate.store.errors import CorruptFileError
from ablate.store.layout import hash_in, seed_in, study_folder


class Stray(NamedTuple):
    """Something in a study that is not a result, and why."""

    path: Path
    reason: str


def cells(outputs: str | Path, study: str) -> list[Cell]:
    """The cells of a study with their configurations, by name. Raises UserError where there is no such study."""
    return scan(outputs, study)[0]


def scan(outputs: str | Path, study: str) -> tuple[list[Cell], list[Stray]]:
    """The cells of a study, by name, and what lies in it that is not a result. Raises UserError where there is no such
    study."""
    folder = study_folder(outputs, study)
    with user_errors(folder):
        if not folder.is_dir():
            raise UserError(f"no study {study!r} in {folder.parent}: run it first, or name its folder with --outputs")
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    originals, strays = dict[str, Cell](), list[Stray]()
    ranked = list[tuple[bool, Cell]]()
    for path in paths:
        try:
            if cell := _cell(path):
                ranked.append((not is_original(cell.name, cell.overrides), cell))
                strays += [Stray(at, "its name is not that of a seed") for at in _misnamed(cell.path)]
                strays += [Stray(at, "it is a cell inside a cell; move it out") for at in _inner(cell.path)]
        except CorruptFileError as damage:
            strays.append(Stray(path, damage.flaw))
        except UserError as error:
            strays.append(Stray(path, str(error)))
    for _, cell in sorted(ranked, key=lambda pair: (pair[0], pair[1].name)):
        original = originals.setdefault(cell.digest, cell)
        if original is not cell:
            strays.append(Stray(cell.path, f"it is a copy of {original.name}"))
    return sorted(originals.values(), key=lambda cell: cell.name), sorted(strays)


def _cell(path: Path) -> Cell | None:
    """The cell of a folder, None where it does not look like one. Raises UserError where it does and is none."""
    with user_errors(path):
        if path.is_symlink():
            if hash_in(path.name):
                raise UserError("it is a link")
            return None
        if not path.is_dir():
            return None
        if hash_in(path.name) is None:
            if _left(path) or any(hash_in(inner.name) and _left(inner) for inner in entries(path)):
                raise UserError("its name is not that of a cell; give it back the name that it had")
            return None
    found = Cell(path).read_description()
    return Cell(path, found.config, tuple(found.overrides))


def _left(folder: Path) -> bool:
    """Whether runs have left something in a folder."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    return (folder / "config.yaml").exists() or any(seed_in(path.name) is not None for path in entries(folder))


def _misnamed(folder: Path) -> list[Path]:
    with user_errors(folder):
        return [path for path in entries(folder) if path.name.startswith("seed=") and seed_in(path.name) is None]


def _inner(folder: Path) -> list[Path]:
    """What was moved into a cell, though runs had left something in it."""
    with user_errors(folder):
        return [path for path in entries(folder) if not path.name.startswith((".", "seed=")) and _left(path)]
