"""``python -m lloki``: the command line, where the installed script is not on the path."""

from lloki.cli import main

if __name__ == "__main__":
    main()
