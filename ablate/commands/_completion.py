"""Tab completion in bash, zsh and fish, of `ablate` and `python -m ablate` alike: subcommands, their options and the
studies that they read, here; settings and their choices, by Hydra.
"""

import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from ablate import commands

BASH = """\
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

# A word that can go on after = . or / gets no space behind it; a line of another module is completed as it was before.
ZSH = """\
_ablate()
{
    local -a program=($words[1]) found open
    if [[ $words[1] == *python* ]]; then
        if [[ $words[2] != -m || $words[3] != (ablate|ablate.exact|analysis) ]]; then
            ${_ablate_before[${words[1]:t}]:-_files}
            return
        fi
        program+=(-m ablate)
    fi
    found=($(COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" $program -sc query=zsh 2> /dev/null))
    (( $#found )) || { _files; return }
    open=(${(M)found:#*[=./]})
    compadd -S '' -a open
    found=(${found:#*[=./]})
    compadd -a found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -u }
typeset -gA _ablate_before
for _ablate_name in python python3; do
    [[ ${_comps[$_ablate_name]:-_ablate} == _ablate ]] || _ablate_before[$_ablate_name]=$_comps[$_ablate_name]
done
compdef _ablate ablate python python3"""

FISH = """\
function _ablate_program
    set -l words (commandline -opc)
    if string match -q '*python*' -- $words[1]
        test "$words[2]" = -m; and contains -- "$words[3]" ablate ablate.exact analysis
        and string join \\n -- $words[1] -m ablate
    else
        echo $words[1]
    end
end
function _ablate
    set -l program (_ablate_program)
    set -l line (string join ' ' -- (commandline -opc) (commandline -ct))
    set -l found (COMP_LINE=$line $program -sc query=fish 2> /dev/null | string split -n ' ')
    if set -q found[1]
        string join \\n -- $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c ablate -f -a '(_ablate)'
for _ablate_name in python python3
    complete -c $_ablate_name -n 'test -n "$(_ablate_program)"' -f -a '(_ablate)'
end"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def found(line: str, settings: Callable[[str], Sequence[str]]) -> list[str]:
    """What the last word of a line can become; `settings` tells it of a line of overrides.

    None of them where the shell had better complete the name of a file.
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
