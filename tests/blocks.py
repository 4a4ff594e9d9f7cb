"""The blocks of the documentation: what is in them, and a process that runs them one after another.

All pages run in one folder, each with results of its own. Blocks of `bash` are commands, and those of `python` are
executed; a block of python, yaml, json or nothing whose paragraph names a file and ends in a colon is that file. Other
blocks are not run. Training is cut short: at most `SEEDS` seeds, `ITERATIONS` iterations, `EPISODES` of the probe,
two updates of its critics, and figures are drawn in one format.

    python tests/blocks.py FOLDER PAGE.md ...     runs the pages, prints what failed, exit code 1 if anything did
"""

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SEEDS, ITERATIONS, EPISODES = 5, 5, 16
SETUP = ("python3 -m venv", ". .venv", "pip install", "pytest", "sphinx-build")  # of an environment, not of a study
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w/]+\.(?:py|yaml|json|csv))`[^`\n]*(?:\n[^`\n]+)*:$")


class Block(NamedTuple):
    language: str
    text: str
    file: str | None


def pages() -> list[Path]:
    """README and every page of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        above = text[: match.start()].rstrip().rpartition("\n\n")[2]
        named = FILE.search(above) if match[1] in ("python", "yaml", "json", "") else None
        found.append(Block(match[1], match[2], named[1] if named else None))
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a bash block, one a line or joined by `&&`, but those that set up an environment."""
    for line in block.text.splitlines():
        for command in line.split("&&"):
            if not command.strip().startswith(SETUP):
                yield shlex.split(command, comments=True)


def notebook(path: Path) -> Iterator[Block]:
    """The cells of a notebook as blocks; a cell that begins with %%writefile is that file."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            match = re.match(r"%%writefile (\S+)\n", source)
            yield Block("python", source[match.end() :] if match else source, match[1] if match else None)


def shortened(words: list[str]) -> list[str]:
    """A command of training with fewer seeds and iterations."""
    short = []
    for word in words:
        name, _, value = word.partition("=")
        if name == "seed" and (match := re.fullmatch(r"(\d+)-(\d+)", value)):
            word = f"seed={match[1]}-{min(int(match[2]), int(match[1]) + SEEDS - 1)}"
        if name == "iterations":
            word = f"iterations={min(int(value), ITERATIONS)}"
        if name == "probe.episodes":
            word = f"probe.episodes={min(int(value), EPISODES)}"
        short.append(word)
    names = {word.partition("=")[0] for word in words}
    more = [] if "iterations" in names or "study" in names else [f"iterations={ITERATIONS}"]
    if "probe=matched" in words:  # which judges batches, 16 at least
        more += [f"probe.episodes={EPISODES}"] if "probe.episodes" not in names else []
        more += ["episodes=4"] if "episodes" not in names else []
        more += ["critic.updates=2"] if "critic.updates" not in names else []  # of what it fits
    return [*short, *more, "workers=1"]


def run(words: list[str]) -> int:
    """One command in this process; its exit code."""
    from hydra.core.global_hydra import GlobalHydra

    import ablate.__main__
    from ablate import commands as subcommands

    if words[0] == "printf":
        return subprocess.run(shlex.join(words).replace("'>'", ">"), shell=True).returncode
    rest = words[3:] if words[:3] == ["python", "-m", "ablate"] else words[1:]
    assert rest != words[1:] or words[0] == "ablate", f"not a command of the project: {words}"
    if subcommands.is_one(rest[0]):
        from ablate.analysis.figures import HELP

        quick = rest[0] in ("figures", *HELP) and "--formats" not in rest
        return subcommands.run(rest[0], [*rest[1:], *(["--formats", "png"] if quick else [])])
    GlobalHydra.instance().clear()
    sys.argv = ["ablate", *shortened(rest)]
    try:
        ablate.__main__.main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def trouble(page: Path) -> Iterator[str]:
    """Run a page's blocks in order, here; what each that fails said. Its results are out of the way afterwards."""
    found = list(notebook(page)) if page.suffix == ".ipynb" else blocks(page)
    for block in found:
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text)
    importlib.invalidate_caches()
    names: dict[str, object] = {"__name__": "__main__"}
    for block in found:
        if block.file:
            continue
        for words in commands(block) if block.language == "bash" else ():
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
                try:
                    code = run(words)
                except BaseException:
                    code, _ = 1, out.write(traceback.format_exc())
            if code:
                yield f"{page.name}: {shlex.join(words)} ended with {code}\n{out.getvalue()}"
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                try:
                    exec(compile(block.text, page.name, "exec"), names)
                except BaseException:
                    yield f"{page.name}: a block of python\n{traceback.format_exc()}"
    if Path("outputs").is_dir():
        Path("outputs").rename(f"outputs of {page.stem}")


def main() -> int:
    folder, failed = Path(sys.argv[1]), False
    os.environ["MPLBACKEND"] = "agg"
    os.chdir(folder)  # one folder for all pages: the worker processes stay in it
    sys.path[:0] = [str(folder)]
    for page in map(Path, sys.argv[2:]):
        start = time.process_time()
        for said in trouble(page):
            failed = True
            print(said)
        print(f"{page.name}: {time.process_time() - start:.1f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
