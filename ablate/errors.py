"""The exceptions that stand for bad input, and how they are told: one line, of no more than 300 characters."""

from typing import Any

LONGEST = 280  # of a message, so that with "ablate: " in front of it the line stays below 300
VALUE = 60  # of a value that is quoted in it


class UserError(Exception):
    """Bad input, told in one line: what was wrong, what is allowed, what to type instead.

    The command line prints the line and exits with 2; every other exception is a bug and keeps its stack trace.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class IncompatibleSettings(UserError):
    """A combination that cannot exist, though each of its settings can: a sweep goes on without it."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """Text without line breaks and control characters, cut in the middle: what is wrong stands at the beginning, and
    what to type at the end."""
    told = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    if len(told) <= longest:
        return told
    tail = (longest - 3) // 2
    return f"{told[: longest - 3 - tail]}...{told[-tail:]}"


def message_of(error: BaseException) -> str:
    """What an exception of anybody's says, in one line; "" where its own code fails to say it."""
    try:
        return " ".join(str(error).split())
    except Exception:
        return ""


def shown(value: Any) -> str:
    """A setting's value as it is typed, the middle of a long one left out."""
    return "null" if value is None else one_line(str(value).replace(" ", ""), VALUE)
