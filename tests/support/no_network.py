"""Prove that nothing leads to the network."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_watching: list[list[str]] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        _watching[-1].append(f"{event}{arguments}")
        raise OSError(f"no network here: {event}")


sys.addaudithook(_audit)


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Fail every connection and look-up, and list those that were tried."""
    tried: list[str] = []
    _watching.append(tried)
    try:
        yield tried
    finally:
        _watching.pop()
