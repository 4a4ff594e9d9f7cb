"""`python -m analysis COMMAND` is `ablate COMMAND`, for the commands that read a study."""

if __name__ == "__main__":
    import sys

    from ablate import commands

    sys.exit(commands.run_of_analysis(sys.argv[1:]))
