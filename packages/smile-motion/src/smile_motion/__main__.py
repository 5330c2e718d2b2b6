"""`smile-motion` and `python -m smile_motion`."""

import sys

from smile_motion.cli.app import Command, end, run_app
from smile_motion.runtime.devices import bound_spinning
from smile_motion.runtime.signals import end_with_launchers, repeat_lost_interrupts

PROGRAM = "smile-motion"
COMMANDS = (
    Command("build-bank", "make or continue an object bank", "smile_motion.cli.bank.build"),
    Command("bank build", "the same as build-bank", "smile_motion.cli.bank.build"),
    Command("bank info", "print a bank's card and counts", "smile_motion.cli.bank.info"),
    Command("bank verify", "check every file of a bank", "smile_motion.cli.bank.verify"),
    Command("bank filter", "decide anew over stored candidates", "smile_motion.cli.bank.filter"),
    Command("bank merge", "unite shards of a bank, or banks", "smile_motion.cli.bank.merge"),
    Command("bank sheet", "draw contact sheets by category", "smile_motion.cli.bank.sheet"),
    Command("bank dedup", "make a bank without near-duplicates", "smile_motion.cli.bank.dedup"),
    Command("bank pack", "pack a bank's pixels now", "smile_motion.cli.bank.pack"),
    Command("bank export", "write a data set that others can read", "smile_motion.cli.bank.export"),
    Command("bank push", "upload a bank to the Hugging Face hub", "smile_motion.cli.bank.push"),
    Command("bank pull", "download a bank and check it", "smile_motion.cli.bank.pull"),
    Command("render", "render moving-object clips with their truth", "smile_motion.cli.render"),
    Command("preview", "write one HTML page that shows clips", "smile_motion.cli.preview"),
    Command("explore", "tune a recipe on a page, and see it move", "smile_motion.cli.explore"),
    Command("completion", "print completion for a shell", "smile_motion.cli.completion"),
)


def main() -> None:
    """Run the command line and exit with its code."""
    bound_spinning()
    end_with_launchers()
    repeat_lost_interrupts()
    description = "Object banks and moving-object video clips with exact truth."
    code = run_app(PROGRAM, description, COMMANDS, sys.argv[1:])
    end(PROGRAM, code)


if __name__ == "__main__":
    main()
