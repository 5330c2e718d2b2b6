"""What the explorer's server answers: its page and that page's own calls, to this machine alone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from smile_motion.files import parse_json

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PAGES = re.compile(
    r"/(?:config|theme\.css|favicon\.ico|manifest\.json|assets/[\w.-]+|static/[\w./-]+|svelte/[\w./-]+"
    r"|gradio_api/(?:app_id|heartbeat/\w+|startup-events|theme\.css|info|queue/join|queue/data"
    r"|upload|upload_progress|cancel|reset))?/?"
)
"""Everything that the page asks for, but files."""
FILE = "/gradio_api/file="
"""What files that were uploaded are asked for with."""
CALL = "/gradio_api/queue/join"
"""What the page's functions are called with; Gradio copies files that a call names, wherever
they lie, to where it serves from."""
LARGEST_CALL = 65536
"""Bytes of a call's JSON: the values of all controls."""
HOSTS = ("127.0.0.1", "localhost")
"""Names that a browser may have for this machine; another's page cannot use its own for it."""
HEADERS = {
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Sent with everything: nothing is fetched from elsewhere, whatever the page's library would."""


class Guard:
    """Lets requests through to an ASGI application that the page makes, refuses all others."""

    def __init__(self, app: App, *, folder: Path, largest_upload: int) -> None:
        """Guard `app`.

        folder          the only one whose files are served, and that uploads go to.
        largest_upload  bytes of a file; the folder holds at most four such.
        """
        self.app = app
        self.folder = folder.resolve()
        self.largest_upload = largest_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, *refusal)
            return
        if scope["path"].startswith("/gradio_api/upload") and scope["method"] == "POST":
            make_room(self.folder, 3 * self.largest_upload)
        if scope["path"].rstrip("/") == CALL:
            body = await _read_all(receive)
            if not self._names_uploads(body):
                await _answer(send, 403, "a call may name uploaded files only")
                return
            receive = _again(body, receive)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *more]
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        path = scope["path"]
        if headers.get("host", "").rpartition(":")[0] not in HOSTS:
            return 403, "this page is for the machine that it runs on"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{headers['host']}":
            return 403, "another page may not ask this"
        if path.startswith(FILE):
            if not self._serves(path.removeprefix(FILE)):
                return 404, "no such file"
        elif PAGES.fullmatch(path) is None or ".." in path:
            return 404, "no such page"
        length = headers.get("content-length", "0")
        # A form's own lines come on top of its file.
        most = LARGEST_CALL if path.rstrip("/") == CALL else self.largest_upload + 4096
        if not length.isdigit() or int(length) > most:
            return 413, f"at most {most} bytes may be sent"
        if scope["method"] == "POST" and "content-length" not in headers:
            return 411, "say the length"
        return None

    def _names_uploads(self, body: bytes) -> bool:
        """Whether every file that a call's JSON names lies in the folder."""
        try:
            asked = parse_json(body)
        except ValueError:
            return False
        return all(isinstance(name, str) and self._serves(name) for name in _files(asked))

    def _serves(self, name: str) -> bool:
        """Whether a name, as asked for or decoded once more, is a file inside the folder."""
        for asked in (name, unquote(name)):
            if "\0" in asked:
                return False
            path = Path(asked)
            if not path.is_absolute() or not path.resolve().is_relative_to(self.folder):
                return False
        return Path(name).is_file()


def _files(data: Any) -> Iterator[Any]:
    """The paths and addresses that JSON names, however deep."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("path") is not None:
                yield value["path"]
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


async def _read_all(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` as it was before the body was read."""
    waiting = [body]

    async def replay() -> MutableMapping[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay


def make_room(folder: Path, most: int) -> None:
    """Delete a folder's oldest files until what is left has at most so many bytes."""
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


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
