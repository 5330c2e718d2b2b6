"""`smile-motion` and `python -m smile_motion`."""

import sys

from smile_motion.cli.app import Command, run_app

COMMANDS = (
    Command("build-bank", "make or continue an object bank", "smile_motion.cli.build_bank"),
    Command("bank info", "print a bank's card and counts", "smile_motion.cli.bank_info"),
    Command("bank verify", "check every file of a bank", "smile_motion.cli.bank_verify"),
    Command("render", "render moving-object clips with their truth", "smile_motion.cli.render"),
    Command("preview", "write one HTML page that shows clips", "smile_motion.cli.preview"),
)


def main() -> None:
    """Run the command line and exit with its code."""
    description = "Object banks and moving-object video clips with exact truth."
    sys.exit(run_app("smile-motion", description, COMMANDS, sys.argv[1:]))


if __name__ == "__main__":
    main()
