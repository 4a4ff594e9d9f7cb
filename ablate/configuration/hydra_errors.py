"""What Hydra and OmegaConf say of a command line that they cannot compose, in one line with the remedy."""

import errno
import re
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from ablate.configuration.overrides import GROUPS, key, parsed
from ablate.configuration.ranges import RANGES
from ablate.configuration.settings import choices, meant, meant_choice
from ablate.errors import shown
from ablate.files import ERRNO_MESSAGES

COMPOSING = HydraException, OmegaConfBaseException, RecursionError
# Bad input that Hydra answers with an exception of Python's own.
PLAIN = "Config group override must be", "The --resolve flag can only", "Only one of --run", "Exceeds the limit"
FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO
LISTED = "`python -m ablate --help` lists them"


def is_bad_input(problem: Exception, words: Sequence[str]) -> bool:
    if isinstance(problem, COMPOSING):
        return True
    if isinstance(problem, OSError):  # of a folder that Hydra was told to make, or a file that it looked for
        known = problem.errno in FULL or problem.errno == errno.ENAMETOOLONG
        return known or any(key(word).startswith("hydra.") for word in words)
    return str(problem).startswith(PLAIN)


def message_of(problem: Exception, words: Sequence[str]) -> str:
    """`words`: the command line."""
    if isinstance(problem, OSError) and not isinstance(problem, COMPOSING):
        if problem.errno in FULL:
            return f"{ERRNO_MESSAGES[problem.errno]}: {problem.filename or 'here'}; make room and type the same again"
        if problem.errno == errno.ENAMETOOLONG:
            return f"{shown(max(words, key=len))} is too long to be the name of anything here; {LISTED}"
        word = next(word for word in words if key(word).startswith("hydra."))
        return f"{shown(word)}: {problem.strerror}; leave it out, or name a folder that can be made"
    said = " ".join(str(problem).split("full_key")[0].split())
    cause = " ".join(str(problem.__cause__ or "").split("full_key")[0].split())
    if isinstance(problem, MissingConfigException) and problem.missing_cfg_file and problem.options:
        group, _, choice = problem.missing_cfg_file.rpartition("/")
        return no_choice(group, choice, problem.options)
    if unread := next((word for word in words if not word.startswith("-") and parsed(word) is None), None):
        return unreadable(unread)
    if "interpolation" in said.lower() or isinstance(problem, RecursionError):
        word = next((shown(word) for word in words if re.search(r"\$\\?{", word)), "an interpolation")
        said = "it needs itself" if isinstance(problem, RecursionError) else said
        return f"{word} cannot be resolved ({said}); write the value itself"
    if match := re.match(r"Ambiguous value for argument '(.*?)'", said):
        name, _, value = match[1].partition("=")
        one = f"'{name}=\"{shown(value)}\"'"
        return f"{shown(match[1])} is several values: add -m to sweep over them, or write {one} for one job"
    if match := re.match(r"Could not override '(.*?)'", said):
        word = next((word for word in words if key(word) == match[1]), "")
        value = word.partition("=")[2].removeprefix("choice(").removesuffix(")")  # see `arguments`
        guess = meant(match[1], shown(value))
        return f"{match[1]} is not a setting here; {f'did you mean {guess}? ' if guess else ''}{LISTED}"
    if match := re.match(r"Error merging override ((.*?)=.*)", said):
        if match[2] in RANGES:
            _, what, example = RANGES[match[2]]
            return f"{shown(match[1])} is not {what}; write for example {match[2]}={example}"
        return f"{shown(match[1])}: {cause}" + ("; write true or false" if "bool" in cause else "")
    return f"{said} ({cause})" if cause else said


def no_choice(group: str, choice: str, options: Sequence[str]) -> str:
    guess = meant_choice(group, choice, options)
    hint = f"did you mean {guess}? " if guess else ""
    return f"{group}={shown(choice)} is not a choice; {hint}write {group}= one of {', '.join(options)}"


def unreadable(word: str) -> str:
    """An override that is not in Hydra's grammar."""
    name, equals, _ = word.partition("=")
    if not equals:
        groups = [f"{group}={word}" for group in GROUPS if word in choices(group)]
        hint = f"did you mean {' or '.join(groups)}?" if groups else LISTED
        return f"{shown(word)} is not KEY=VALUE; {hint}"
    return f"{shown(word)} cannot be read; put the value into quotes, within quotes for the shell: '{name}=\"...\"'"
