"""Errors that a user can cause, and one-line text of other libraries' errors."""


class InputError(ValueError):
    """An argument, an option or a file cannot be used.

    The message is one line: what was found, where, what was expected, and the remedy. Commands
    print it and exit with code 2.
    """

    def __str__(self) -> str:
        """Return the message with control characters escaped, since file names may hold any."""
        return printable(super().__str__())


class OptionError(InputError):
    """An option is out of range, given twice, or has no effect with the others."""


class UnusableFile(InputError):
    """The background file of a clip cannot be read; another file of the collection may do."""


class BankError(InputError):
    """An object bank is missing, unfinished or damaged."""


class FolderInUse(InputError):
    """Another process is writing to the output folder; the same call works once it has ended."""


class MissingExtra(InputError):
    """An optional dependency is not installed."""


_CONTROLS = {
    code: chr(code).encode("unicode_escape").decode()
    for code in (*range(32), *range(127, 160), 0x2028, 0x2029)
}


def printable(text: str) -> str:
    """Escape control characters, so that text stays on one line and cannot control a terminal."""
    return text.translate(_CONTROLS)


def in_one_line(error: BaseException, *, length: int = 200) -> str:
    """Return the message of a library's error on one line of at most `length` characters."""
    return shortened(str(error), length)


def shortened(text: str, length: int) -> str:
    """Put text on one line of at most `length` characters, cut after a word with an ellipsis."""
    line = " ".join(text.split())
    if len(line) <= length:
        return line
    kept = line[: length - 1]
    return (kept.rpartition(" ")[0] or kept).rstrip(" ,;:(") + " …"
