"""What was typed, in the order and the grammar that Hydra takes."""

from collections.abc import Sequence
from difflib import get_close_matches

from hydra._internal.utils import get_args_parser

from ablate.configuration.overrides import GROUPS, as_text, key, parsed
from ablate.errors import UserError, shown


def arranged(typed: Sequence[str]) -> list[str]:
    """Overrides before options, whatever the order in which they were typed: Hydra's parser stops at an override
    after an option. Raises UserError for an option that is not one, or has no value."""
    options = get_args_parser()._option_string_actions
    overrides: list[str] = []
    flags: list[str] = []
    rest = list(typed)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        name, equals, value = word.partition("=")
        matches = {options[known].dest for known in options if known == name} or {
            options[known].dest for known in options if name.startswith("--") and known.startswith(name)
        }
        if len(matches) != 1:
            close = get_close_matches(name, options, n=1)
            guess = f"did you mean {close[0]}? " if close else ""
            raise UserError(f"{shown(name)} is not an option; {guess}`python -m ablate --help` tells what there is")
        option = next(action for action in options.values() if action.dest in matches)
        flags.append(word)
        takes = option.nargs is None or (option.nargs == "?" and rest[:1] and rest[0] in (option.choices or ()))
        if takes and not equals:
            if not rest:
                raise UserError(f"{name} has no value; write {name} {' or '.join(option.choices or ['...'])}")
            value = rest.pop(0)
            flags.append(value)
        if takes and option.choices and value not in option.choices:
            raise UserError(f"{name} {shown(value)} cannot be shown; write {name} {' or '.join(option.choices)}")
    sweeping = any(flag in ("-m", "--multirun") for flag in flags)
    words = [as_text(word, sweeping) for word in overrides]
    return [*(_with_swept_choices(words) if sweeping else words), *flags]


def _with_swept_choices(words: Sequence[str]) -> list[str]:
    """A setting of a group whose choice is swept, `algorithm=sarsa,q_learning algorithm.steps=100`, as a sweep over one
    value: before a sweep Hydra composes once without what is swept, where the default choice may not have it."""
    read = {word: parsed(word) for word in words}
    swept = {key(word) for word, found in read.items() if found is not None and found.is_sweep_override()}

    def belongs(word: str) -> bool:
        found, (group, dot, _) = read[word], key(word).partition(".")
        plain = found is not None and not found.is_sweep_override() and word[0] not in "+~"
        return bool(dot) and group in swept and group in GROUPS and plain

    return [
        f"{start}=choice({value})" if belongs(word) else word
        for word in words
        for start, _, value in [word.partition("=")]
    ]
