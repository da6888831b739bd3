"""`hotsite` and `python -m controller`: the command line begins here."""

from controller.cli.app import main

if __name__ == "__main__":
    main()
