"""The text of `--help`, read from conf/ itself: a line for every choice and every setting."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

INTRODUCTION = """\
ablate: how noisy is this policy-gradient estimator, and does it matter?

  python -m ablate phi=rtg seed=0-9                        one variant, ten seeds side by side
  python -m ablate -m phi=return,rtg,advantage seed=0-9    a sweep over variants (-m: every combination)
  python -m ablate env=lqg phi=rtg baseline=loo seed=0-4   another environment, another baseline
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
            "--cfg job shows the composed configuration; --config-dir DIR adds choices of your own (a yaml each, in",
            "DIR/phi/ and so on); hydra/launcher=joblib runs jobs side by side. The same command again goes on where",
            "the last one stopped. --hydra-help tells the rest of Hydra's flags.",
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
        yield f"    {path.stem:<{width}}  {description(path)}"


def _commands() -> Iterator[str]:
    from ablate.commands import described

    told = described()
    width = max(map(len, told))
    for name, what in told.items():
        head = f"    {name:<{width}}  "
        yield from textwrap.wrap(what, 80, initial_indent=head, subsequent_indent=" " * len(head))


def _settings(path: Path) -> Iterator[str]:
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"(\w+):", line):
            group = match[1]
        elif match := re.fullmatch(r"( *)(\w+): (\S+)\s+# (.*)", line):
            name = f"{group}.{match[2]}" if match[1] else match[2]
            yield f"    {name + '=' + match[3]:<24} {match[4]}"


def _place(group: Path) -> tuple[int, str]:
    return (ORDER.index(group.name) if group.name in ORDER else len(ORDER)), group.name
