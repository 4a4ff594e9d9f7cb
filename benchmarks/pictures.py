"""The pictures of the pages: each is drawn by a command that stands on its page.

    python -m benchmarks.pictures [FOLDER]       runs the commands of PAGES, writes docs/figures: some minutes

All pages run in one folder, an empty one unless it is named: what is done there is not done again. There
`ablate FIGURE STUDY --width slide` leaves outputs/STUDY/figures/FIGURE.svg, which a page shows as
figures/STUDY_FIGURE.svg, with coordinates rounded to a tenth of a point. What no page shows goes.
"""

import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra

import ablate.__main__
from ablate import commands as subcommands

DOCS = Path(__file__).parents[1] / "docs"
PAGES = "lecture.md", "reading.md"
BLOCK = re.compile(r"^```(?:bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]*\]\(figures/(\w+\.svg)\)")


def commands(text: str) -> Iterator[list[str]]:
    """What is typed on a page, as words after `python -m ablate`."""
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            yield words[3:] if words[:3] == ["python", "-m", "ablate"] else words[1:]


def lean(svg: str) -> str:
    """An SVG whose coordinates have one digit after the point, without the spaces that say nothing; its words stay."""

    def rounded(tag: re.Match[str]) -> str:
        short = re.sub(r"-?\d+\.\d{2,}", lambda x: f"{float(x[0]):.1f}".removesuffix(".0"), tag[0])
        return re.sub(r"\s*\n?([MLQCz])\s*", r"\1", short) if short.startswith("<path") else short

    return re.sub(r">\n\s+<", ">\n<", re.sub(r"<[^<>]+>", rounded, svg))


def shown() -> set[str]:
    """The pictures that pages show."""
    return {name for page in DOCS.glob("*.md") for name in PICTURE.findall(page.read_text(encoding="utf-8"))}


def run(words: list[str]) -> None:
    """One command, in this process, whose imports all of them share."""
    GlobalHydra.instance().clear()
    start, sys.argv = time.process_time(), ["ablate", *words]
    try:
        ablate.__main__.main()
    except SystemExit as end:
        if end.code:
            raise
    print(f"{time.process_time() - start:.1f} s: ablate {shlex.join(words)}", file=sys.stderr, flush=True)


def main(folder: Path) -> None:
    os.chdir(folder)
    for page in PAGES:
        for words in commands((DOCS / page).read_text(encoding="utf-8")):
            run(words if subcommands.is_one(words[0]) else [*words, "workers=1"])
    drawn = {f"{path.parts[1]}_{path.name}": path for path in Path("outputs").glob("*/figures/*.svg")}
    if missing := shown() - drawn.keys():
        sys.exit(f"no command of {', '.join(PAGES)} draws {', '.join(sorted(missing))}")
    for path in (DOCS / "figures").iterdir():
        path.unlink()
    for name in shown():
        (DOCS / "figures" / name).write_text(lean(drawn[name].read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as empty:
            main(Path(empty))
