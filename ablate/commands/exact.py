"""`ablate exact FILE.json` or `--env NAME`: every estimator's exact bias and variance, as a table."""

import argparse
import csv
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from ablate.commands import Parser
from ablate.errors import UserError
from ablate.exact.estimators import Variant
from ablate.exact.table import COLUMNS, NUMBERS, Row, reached, rows, truth_of
from ablate.files import picture, write
from ablate.mdp import MDP, load

HEADINGS = ("mean bias\nsquared", "trace\nvariance", "snr", "v s0", "v action", "v tran-\nsition")
WIDTH = 90  # columns for four digits; with fewer, three are shown
IMAGES = (".png", ".pdf", ".svg")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="ablate exact",
        description="Exact bias and variance of every policy-gradient estimator on a known finite MDP, of one episode. "
        "The policy is the softmax of the file's logits (uniform if it has none). No sampling.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="FILE.json",
        help="an MDP: P [S][A][S], R [S][A] or [S][A][S], rho0 [S], horizon, and optionally gamma, logits, terminal, "
        "features, R_std; with --env, the environment's settings instead: env.KEY=VALUE",
    )
    parser.add_argument("--env", metavar="NAME", help="a tabular environment of conf/env, with uniform actions")
    parser.add_argument("--horizon", type=int, metavar="STEPS", help="in place of the MDP's own")
    parser.add_argument(
        "--discount-scores",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="weigh step t by gamma^t (exact); without, the bias is that of the usual practice",
    )
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write the table, in full precision")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw where the variance comes from")
    return parser.parse_args(arguments)


def choose(options: argparse.Namespace) -> tuple[str, MDP]:
    """The MDP that the command line names, and what to call it. Raises UserError if it is none, or too large."""
    if options.env is not None:
        name, mdp = options.env, from_environment(options.env, options.what)
    elif len(options.what) == 1:
        name, mdp = options.what[0], load(options.what[0])
    else:
        raise UserError("name one MDP: python -m ablate exact FILE.json, or --env NAME")
    if options.horizon is not None:
        if options.horizon < 1:
            raise UserError(f"--horizon {options.horizon}: give a whole number of steps of at least 1")
        mdp = mdp.with_horizon(options.horizon)
    return name, reached(name, mdp)


def from_environment(name: str, overrides: Sequence[str]) -> MDP:
    """The MDP of conf/env/NAME.yaml with env.KEY=VALUE in place of its settings."""
    import hydra
    from hydra.errors import InstantiationException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from ablate.configuration import CONF

    nodes = {path.stem: OmegaConf.create(OmegaConf.load(path)).env for path in sorted((CONF / "env").glob("*.yaml"))}
    tabular = [stem for stem, node in nodes.items() if "mdp" in node]
    if name not in tabular:
        problem = "has no finite model" if name in nodes else "is not an environment"
        raise UserError(f"--env {name} {problem}; the tabular ones are {', '.join(tabular)}")
    if wrong := [text for text in overrides if not (text.startswith("env.") and "=" in text)]:
        raise UserError(f"{wrong[0]} is not a setting of --env {name}; write env.KEY=VALUE")
    try:
        merged = OmegaConf.merge({"env": nodes[name]}, OmegaConf.from_dotlist(list(overrides)))
        if missing := sorted(OmegaConf.missing_keys(merged)):
            raise UserError(f"--env {name} needs {missing[0]}=...")
        node = OmegaConf.select(merged, "env")
        mdp = hydra.utils.instantiate({key: value for key, value in node.items() if key != "name"}).mdp
    except (InstantiationException, OmegaConfBaseException, AttributeError, TypeError) as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        typed, detail = " ".join(["--env", name, *overrides]), str(cause or error).splitlines()[0]
        raise UserError(f"{typed}: {detail}; its settings are in conf/env/{name}.yaml") from None
    assert isinstance(mdp, MDP)
    return mdp


def show(table: Sequence[Row], title: str, rounding: float) -> None:
    """The table on screen. A squared bias below `rounding` is shown as 0, as nothing else is left of it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    digits = 4 if console.width >= WIDTH else 3
    caption = "Of one episode; trace variance = v s0 + v action + v transition; advantage has lambda 0.95."
    screen = Table(
        *("estimator", *HEADINGS), title=Text(title), caption=caption, title_justify="left", caption_justify="left"
    )
    screen.box, screen.padding, screen.pad_edge = SIMPLE_HEAD, 0, False
    for column in screen.columns:
        column.no_wrap = True
        column.justify = "left" if column.header == "estimator" else "right"
    for row in table:
        shown = {**row, "mean_bias_squared": row["mean_bias_squared"] * (row["mean_bias_squared"] > rounding)}
        label = Variant(row["phi"], row["baseline"], row["critic"]).label
        screen.add_row(label, *(f"{shown[name]:.{digits}g}" for name in NUMBERS))
    console.print(screen)


def check_output(path: Path, *endings: str) -> None:
    """Raise UserError where nothing could be written, before anything is computed."""
    if endings and path.suffix.lower() not in endings:
        raise UserError(f"{path}: no such kind of picture; let its name end in {', '.join(endings)}")
    if path.is_dir():
        raise UserError(f"{path} is a directory; give the name of a file")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is not a directory; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path.parent} cannot be written to; choose another directory")


def as_csv(table: Sequence[Row]) -> str:
    """The table, in full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def as_picture(table: Sequence[Row], title: str, kind: str) -> bytes:
    from ablate.exact.chart import draw

    return picture(draw(table, title), kind)


def main(arguments: Sequence[str]) -> int:
    """Print the table, and write and draw it where asked to. Raises UserError on bad input."""
    options = parse(arguments)
    if options.csv is not None:
        check_output(options.csv)
    if options.plot is not None:
        check_output(options.plot, *IMAGES)
    name, mdp = choose(options)
    progress = Console(stderr=True)
    bar = partial(track, description="computing", console=progress, transient=True, disable=not sys.stderr.isatty())
    try:
        truth = truth_of(mdp, options.discount_scores)
        table = rows(truth, bar)
    except MemoryError:
        raise UserError(f"{name} does not fit into memory; give a smaller MDP, or a shorter --horizon") from None
    length = float(np.linalg.norm(truth.gradient))
    title = f"{name}: horizon {mdp.horizon}, gamma {mdp.gamma:g}, J = {truth.J:.6g}, |grad J| = {length:.6g}"
    show(table, title, 1e-20 * length**2)
    if options.csv is not None:
        write(options.csv, as_csv(table))
    if options.plot is not None:
        write(options.plot, as_picture(table, title, options.plot.suffix[1:].lower()))
    return 0
