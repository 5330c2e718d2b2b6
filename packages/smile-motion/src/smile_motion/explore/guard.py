"""What the explorer's server refuses, uploads included, and the headers of all that it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smile_motion.errors import InputError

HOSTS = ("127.0.0.1", "localhost")
"""Host names of this machine that a request may have, against DNS rebinding."""
CALLED_BY = "x-smile-motion"
"""Header of the page's own calls. Pages of other sites cannot set it without asking first, which
the server never allows."""
HEADERS = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer."""
NOTHING = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Content security policy of everything but pages: opened alone, it can do nothing."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content security policy of pages: the package's own scripts and styles, which make no markup."""


def find_refusal(
    method: str, headers: Mapping[str, str], *, most_bytes: int
) -> tuple[int, str] | None:
    """Decide whether a request is answered.

    Args:
        method: GET or POST.
        headers: Its headers, names in lower case.
        most_bytes: Bytes that its path takes.

    Returns:
        Status and sentence of the refusal; None for a request of the page from this machine.
    """
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in HOSTS:
        return 403, "this page is for the machine that it runs on"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return 403, "another page may not ask this"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return 403, "another page may not ask this"
    if method != "POST":
        return None
    if CALLED_BY not in headers:
        return 403, "only the page may ask this"
    length = headers.get("content-length")
    if length is None or "transfer-encoding" in headers:
        return 411, "say the length"
    if not (length.isascii() and length.isdigit()) or int(length) > most_bytes:
        return 413, f"at most {most_bytes} bytes may be sent"
    return None


def make_room(folder: Path, most: int) -> None:
    """Delete the oldest files of a folder until the rest has at most `most` bytes."""
    files = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    held = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if held <= most:
            break
        path.unlink(missing_ok=True)
        held -= size


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """Limits of an uploaded video."""

    bytes: int
    """Largest file, bytes."""
    seconds: float
    """Longest video, seconds."""
    folder: Path | None = None
    """Folder of uploads; no other file is opened. None allows any folder."""

    def check(self, path: Path) -> None:
        """Raise InputError where an upload is too large, too long, or not a video."""
        from smile_motion.video import open_index

        name = path.name
        if self.folder is not None and not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"{name}: was not uploaded here; upload it")
        try:
            size = path.stat().st_size
        except FileNotFoundError as error:
            raise InputError(f"{name}: is no longer here; upload it again") from error
        if size > self.bytes:
            raise InputError(
                f"{name}: {size / 1e6:.0f} MB; uploads may have {self.bytes / 1e6:.0f} MB, "
                f"see --max-upload-mb"
            )
        try:
            video = open_index(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from error
        seconds = len(video) / video.rate_hz
        if seconds > self.seconds:
            raise InputError(
                f"{name}: {seconds:.0f} s long; uploads may have {self.seconds:g} s, cut it or see "
                f"--max-upload-seconds"
            )
