"""Tab completion in bash, of `ablate` and `python -m ablate` alike: subcommands, their options and the studies that
they read, here; settings and their choices, by Hydra.
"""

import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from ablate import commands

SCRIPT = """\
_ablate()
{
    local line=${COMP_LINE:0:COMP_POINT} program=${COMP_WORDS[0]}
    if [[ $program == *python* ]]; then
        [[ ${COMP_WORDS[1]} == -m && ${COMP_WORDS[2]} =~ ^(ablate|ablate.exact|analysis)$ ]] || return
        program="$program -m ablate"
    fi
    COMPREPLY=($(compgen -W "$(COMP_LINE=$line $program -sc query=bash 2> /dev/null)" -- "${line##* }"))
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} != *[=./] ]] && compopt +o nospace
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _ablate ablate python python3"""


def found(line: str, settings: Callable[[str], Sequence[str]]) -> list[str]:
    """What the last word of a line can become; `settings` tells it of a line of overrides.

    None of them where bash had better complete the name of a file.
    """
    *before, word = line.split(" ")
    before = _arguments([x for x in before if x])
    if before and commands.is_one(before[0]):
        return _of_command(before, word)
    name, equals, value = word.partition("=")
    earlier, comma, last = value.rpartition(",")
    more = settings(" ".join([*before, f"{name}{equals}{last}"]))
    start = f"{name}={earlier}{comma}"
    return [*(() if before else commands.names()), *(x.replace(f"{name}=", start, 1) if comma else x for x in more)]


def _arguments(words: Sequence[str]) -> list[str]:
    """The words after the program's name, which in a module's spelling are three."""
    if "python" not in words[0]:
        return list(words[1:])
    return [*(["exact"] if words[2] == "ablate.exact" else []), *words[3:]]


def _of_command(before: Sequence[str], word: str) -> list[str]:
    """The options of a subcommand that are not there yet, as its own help tells them; or the studies."""
    help = io.StringIO()
    with redirect_stdout(help), redirect_stderr(io.StringIO()), suppress(SystemExit):
        commands.run(before[0], ["--help"])
    options = [x for x in dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][\w-]*", help.getvalue())) if x not in before]
    if word.startswith("-"):
        return options
    if "--outputs" not in help.getvalue() or before[-1].startswith("-"):
        return []
    outputs = before[before.index("--outputs") + 1] if "--outputs" in before else "outputs"
    return sorted(path.name for path in Path(outputs).glob("[!.]*/") if path.is_dir())
