"""Which cells of a study are shown, and under what names: `--only`, `--drop` and `--rename` of every command.

`chosen` is of a study on disk, `chosen_names` of a list of names: claims, entries of the ledger, what is imported.

A text names a cell by

    its variant or label        reward-to-go, "reward-to-go - V": - is read as the minus sign, capitals as small letters
    its folder                  phi=rtg-0123456789abcdef
    a setting                   phi=rtg, env=chain, optimizer.lr=0.1

with * for any letters. What a probe judged in the runs of other cells is named in the same way, by its label or by
phi=, baseline= and critic=.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from ablate.errors import UserError, one_line

from .frames import StudyFrames


@dataclass(frozen=True)
class CellFilter:
    """What was typed: the texts after --only and --drop, and OLD=NEW after --rename."""

    only: Sequence[str] = ()
    drop: Sequence[str] = ()
    rename: Sequence[str] = ()


EVERYTHING = CellFilter()


def chosen(study: StudyFrames, choice: CellFilter) -> StudyFrames:
    """The study with the cells and names that were asked for. Raises UserError for a text that names nothing, where
    nothing is left, and where two cells of one environment would have one name."""
    only, drop = ([part for text in texts for part in _split(study, text)] for texts in (choice.only, choice.drop))
    study = _cut(study, only, True) if only else study
    study = _cut(study, drop, False) if drop else study
    for text in choice.rename:
        study = _renamed(study, text)
    if choice.rename and study.cells.duplicated(["env", "label"]).any():
        twice = study.cells.loc[study.cells.duplicated(["env", "label"]), "label"].iloc[0]
        raise UserError(f"--rename gives two cells of one environment the name {_quoted(twice)}; give each its own")
    return study


def chosen_names(names: Sequence[str], choice: CellFilter, what: str) -> dict[str, str]:
    """Those of a list of names that were asked for, and the name that each is given. Raises UserError for a text that
    names nothing, and where nothing is left."""
    only, drop = (
        _named(names, option, texts, what) for option, texts in (("only", choice.only), ("drop", choice.drop))
    )
    kept = {name: name for name in names if (name in only or not choice.only) and name not in drop}
    if not kept:
        raise UserError(f"--drop leaves no {what} of {one_line(', '.join(names), 200)}")
    for text in choice.rename:
        pair = _old_and_new(text, _among(kept))
        if pair is None:
            old, equals, new = (part.strip() for part in text.partition("="))
            if not (equals and new):
                raise UserError(f"--rename {_quoted(text)} is no OLD=NEW")
            raise _unknown(kept, "rename", old, what)
        kept |= {name: pair[1] for name in kept if _fits(pair[0], name)}
    return kept


def _named(names: Sequence[str], option: str, texts: Sequence[str], what: str) -> set[str]:
    found = set[str]()
    for text in (part for typed in texts for part in _parts(typed, _among(names))):
        fits = {name for name in names if _fits(text, name)}
        if not fits:
            raise _unknown(names, option, text, what)
        found |= fits
    return found


def _among(names: Iterable[str]) -> Callable[[str], bool]:
    """Whether a text names one of these."""
    return lambda text: any(_fits(text, name) for name in names)


def _unknown(names: Iterable[str], option: str, text: str, what: str) -> UserError:
    return UserError(f"--{option} {_quoted(text)}: no such {what}; choose from {one_line(', '.join(names), 200)}")


def _parts(text: str, names_something: Callable[[str], bool]) -> list[str]:
    """Texts with commas between; one that names something as it stands, commas and all, is one."""
    return [text] if names_something(text) else [part.strip() for part in text.split(",")]


def _old_and_new(text: str, names_something: Callable[[str], bool]) -> tuple[str, str] | None:
    """OLD=NEW at the first = before which something is named: a name may hold one itself. None where there is none."""
    for place, letter in enumerate(text):
        old, new = text[:place].strip(), text[place + 1 :].strip()
        if letter == "=" and old and new and names_something(old):
            return old, new
    return None


def _split(study: StudyFrames, text: str) -> list[str]:
    parts = _parts(text, lambda part: _names_something(study, part))
    for part in parts:
        if not _names_something(study, part):
            raise UserError(f"{_quoted(part)} names nothing in study {study.name!r}; {_known(study, part)}")
    return parts


def _names_something(study: StudyFrames, text: str) -> bool:
    return bool(_cells(study, text).any() or _judged(study, text).any())


def _cut(study: StudyFrames, texts: Sequence[str], keep: bool) -> StudyFrames:
    """The study with what the texts name, or without it: of cells where they name cells, of what a probe judged where
    they name that."""
    cells = pd.concat([_cells(study, text) for text in texts], axis=1).any(axis=1)
    rows = pd.concat([_judged(study, text) for text in texts], axis=1).any(axis=1)
    left = study.cells[cells == keep] if cells.any() else study.cells
    if left.empty:
        raise UserError(f"--drop leaves nothing of study {study.name!r}; {_known(study, '')}")
    judged = (rows == keep) if rows.any() else pd.Series(True, study.probe.index)
    names = set(left.index)
    runs, tuning, curves = (x[x["cell"].isin(names)] for x in (study.runs, study.tuning_runs, study.curves))
    probe = study.probe[judged & study.probe["cell"].isin(names)]
    curves, probe = (
        x.assign(cell=x["cell"].astype("category").cat.remove_unused_categories()) for x in (curves, probe)
    )
    return replace(study, cells=left, runs=runs, tuning_runs=tuning, curves=curves, probe=probe.reset_index(drop=True))


def _renamed(study: StudyFrames, text: str) -> StudyFrames:
    pair = _old_and_new(text, lambda old: _names_something(study, old))
    if pair is None:
        name = text.rpartition("=")[0]
        known = _known(study, name) if name else f"write --rename {_quoted(f'{text}=NEW')}"
        raise UserError(f"--rename {_quoted(text)} is no OLD=NEW with the name of a cell; {known}")
    old, new = pair
    cells, rows = _cells(study, old), _judged(study, old)
    labels, variants = study.cells["label"].copy(), study.cells["variant"].copy()
    whole = variants.map(lambda variant: _fits(old, variant))  # the settings in brackets stay
    for cell in labels.index[cells]:
        within = whole[cell] and labels[cell].startswith(variants[cell])
        labels[cell] = new + labels[cell][len(variants[cell]) :] if within else new
    probe = study.probe.copy()
    own = probe["own"].astype(bool) & probe["cell"].astype(str).isin(labels.index[cells])
    before = probe.loc[rows, "label"].unique()
    probe.loc[own | rows, "label"] = new
    if "reference" in probe:
        probe["reference"] = probe["reference"].where(~probe["reference"].isin(before), new)
    return replace(study, cells=study.cells.assign(label=labels, variant=variants.where(~cells, new)), probe=probe)


def _cells(study: StudyFrames, text: str) -> pd.Series:
    """Which cells a text names."""
    named = [
        any(_fits(text, name) for name in (cell["variant"], cell["label"], index)) or _set(text, cell["config"])
        for index, cell in study.cells.iterrows()
    ]
    return pd.Series(named, study.cells.index, dtype=bool)


def _judged(study: StudyFrames, text: str) -> pd.Series:
    """Which rows of the probe a text names by what was judged."""
    key, equals, value = text.partition("=")
    column = key if equals and key in ("phi", "baseline", "critic") else "label"
    fits = {name: _fits(value if column != "label" else text, str(name)) for name in study.probe[column].unique()}
    return study.probe[column].map(fits).astype(bool)


def _fits(text: str, name: str) -> bool:
    plain = _plain(text).replace("[", "[[]")
    return fnmatchcase(_plain(name), plain)


def _plain(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-").casefold()


def _set(text: str, config: Mapping[str, Any]) -> bool:
    """Whether a text is KEY=VALUE of a configuration."""
    key, equals, wanted = text.lstrip("+").partition("=")
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    value = node.get("name") if isinstance(node, Mapping) else node
    if not equals or value is None:
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(wanted) == value
        except ValueError:
            return False
    return _fits(wanted, str(value).lower() if isinstance(value, bool) else str(value))


def _known(study: StudyFrames, text: str) -> str:
    names = list(dict.fromkeys([*study.cells["label"], *study.probe["label"].unique()]))
    close = get_close_matches(text, names, n=1)
    few = [_quoted(name) for name in names[:5]]
    guess = f"did you mean {_quoted(close[0])}? " if close else ""
    return f"{guess}it has {', '.join(few)}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"


def _quoted(text: str) -> str:
    return one_line(repr(text), 60)
