"""`python -m analysis FIGURE [--study NAME] [--outputs DIR] [--out DIR]`: a figure as PNG and SVG."""

import argparse
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ablate.refusal import Refusal

FIGURES = ("horizon", "survey", "variance", "group_baselines")


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message}; python -m analysis --help tells what there is")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m analysis", description="Draw a figure of a finished study.", allow_abbrev=False)
    parser.add_argument("figure", metavar="FIGURE", choices=FIGURES, help=", ".join(FIGURES))
    parser.add_argument("--study", metavar="NAME", help="the study to show (default: the figure's own name)")
    parser.add_argument("--outputs", metavar="DIR", default="outputs", help="where studies are (default: outputs)")
    parser.add_argument("--out", metavar="DIR", default=Path(), type=Path, help="where pictures go (default: here)")
    return parser.parse_args(arguments)


def run(arguments: Sequence[str] | None) -> None:
    options = parse(arguments)
    from analysis import frames, plots

    draw = plots.FIGURES[options.figure]
    plots.theme()
    if inspect.signature(draw).parameters:
        study = options.study or options.figure
        table, unfinished = frames.probed(options.outputs, study)
        for cell, seed, status in unfinished:
            print(f"left out: {cell} seed={seed} is {status}", file=sys.stderr)
        figure = draw(table)
    elif options.study:
        raise Refusal(f"figure {options.figure} is computed, not run; leave out --study {options.study}")
    else:
        figure = draw()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for ending in ("png", "svg"):
            path = options.out / f"{options.figure}.{ending}"
            figure.savefig(path, dpi=200, metadata={"Date": None} if ending == "svg" else None)
            print(path)
    except OSError as error:
        raise Refusal(f"{options.out}: {error.strerror}; choose another place with --out") from None


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        run(arguments)
    except Refusal as refusal:
        print("analysis: " + " ".join(str(refusal).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
