"""`python -m ablate.exact` is `ablate exact`."""

if __name__ == "__main__":
    import sys

    from ablate import commands

    sys.exit(commands.run("exact", sys.argv[1:]))
