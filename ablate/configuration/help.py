"""The text of `--help`, read from conf/ itself: a line for every choice and every setting."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

WIDTH = 80  # columns
INTRODUCTION = """\
ablate: how noisy is this policy-gradient estimator, and does it matter?

Start here:

  python -m ablate -m phi=return,rtg,advantage seed=0-9
      three variants, ten seeds each, side by side (-m: every combination)
  python -m ablate report
      a page of what came out: outputs/main/report.html
  python -m ablate phi=rtg seed=0-9
      one variant; without -m, results go to the study "scratch"
  python -m ablate -m env=frozenlake phi=rtg baseline=none,value seed=0-4
      another environment, with and without a baseline
  python -m ablate -m env=cartpole probe=matched seed=0-4
      all variants judged on the same trajectories
"""
ORDER = (
    "phi",
    "baseline",
    "advantage",
    "aggregation",
    "critic",
    "policy",
    "optimizer",
    "env",
    "algorithm",
    "probe",
    "study",
)


def text(conf: Path) -> str:
    groups = sorted((path for path in conf.iterdir() if path.is_dir()), key=_place)
    return "\n".join(
        [
            INTRODUCTION,
            "Choices (GROUP=CHOICE; the parts of a choice are GROUP.KEY=VALUE):",
            *(line for group in groups for line in _choices(group)),
            "",
            "Settings:",
            *_settings(conf / "config.yaml"),
            "",
            "Commands (python -m ablate COMMAND --help tells each one's options):",
            *_commands(),
            "",
            *_wrapped(
                "",
                "--cfg job shows the composed configuration; --config-dir DIR adds choices of your own (a yaml each, "
                "in DIR/phi/ and so on); hydra/launcher=joblib runs jobs side by side. The same command again goes on "
                "where the last one stopped. --hydra-help tells the rest of Hydra's flags. In bash and "
                'zsh `eval "$(python -m ablate -sc install=bash)"`, or =zsh, lets the tab key complete them all; in '
                "fish `python -m ablate -sc install=fish | source`.",
            ),
        ]
    )


def description(path: Path) -> str:
    """The first comment of a yaml that is not a directive to Hydra."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line[2:] for line in lines if line.startswith("# ") and not line.startswith("# @")), "")


def _choices(group: Path) -> Iterator[str]:
    yield f"\n  {group.name}="
    paths = sorted(group.glob("*.yaml"))
    width = max(len(path.stem) for path in paths)
    for path in paths:
        yield from _wrapped(f"    {path.stem:<{width}}  ", description(path))


def _commands() -> Iterator[str]:
    from ablate.commands import described

    told = described()
    width = max(map(len, told))
    for name, what in told.items():
        yield from _wrapped(f"    {name:<{width}}  ", what)


def _settings(path: Path) -> Iterator[str]:
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(\w+):", line):
            group = match[1]
        elif group == "hydra":  # its own --hydra-help tells those
            continue
        elif match := re.fullmatch(r"( *)(\w+): (\S+)\s+# (.*)", line):
            name = f"{group}.{match[2]}" if match[1] else match[2]
            yield from _wrapped(f"    {name + '=' + match[3]:<24} ", match[4])


def _wrapped(head: str, text: str) -> list[str]:
    """Lines of at most 80 columns, all but the first indented by as much as what leads it."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    ) or [head.rstrip()]


def _place(group: Path) -> tuple[int, str]:
    return (ORDER.index(group.name) if group.name in ORDER else len(ORDER)), group.name
