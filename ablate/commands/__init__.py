"""Subcommands of `ablate`, a module each with a `main(arguments) -> exit code`: `ablate groups`, `ablate audit`."""
