"""The one exception that stands for bad input."""


class Refusal(Exception):
    """Bad input, told in one line: what was wrong, what is allowed, what to type instead.

    The command line prints the line and exits with 2; every other exception is a bug and keeps its stack trace.
    """
