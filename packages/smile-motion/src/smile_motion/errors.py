"""The one error a user can cause."""


class InputError(Exception):
    """Something given from outside cannot be used.

    The message is one line: what was found, where, what was expected, and the remedy. Commands
    print it and exit with code 2.
    """
