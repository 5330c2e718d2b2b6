"""The one error a user can cause, and how it quotes others."""


class InputError(Exception):
    """Something given from outside cannot be used.

    The message is one line: what was found, where, what was expected, and the remedy. Commands
    print it and exit with code 2.
    """


def in_one_line(error: BaseException, *, length: int = 200) -> str:
    """What a library's error says, for use within a message: in one line of at most so many
    characters."""
    return " ".join(str(error).split())[:length]
