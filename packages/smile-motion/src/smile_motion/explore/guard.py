"""Restrict the explorer's server to its page and the page's own calls, from this machine alone."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from smile_motion.io.files import parse_json
from smile_motion.io.markup import source_hash

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PAGES = re.compile(
    r"/(?:config|theme\.css|favicon\.ico|manifest\.json|assets/[\w.-]+|static/[\w./-]+|svelte/[\w./-]+"
    r"|gradio_api/(?:app_id|heartbeat/\w+|startup-events|theme\.css|info|queue/join|queue/data"
    r"|upload|upload_progress|cancel|reset))?/?"
)
"""Pattern of the paths that the page requests, files aside."""
FILE = "/gradio_api/file="
"""Path prefix of uploaded files."""
CALL = "/gradio_api/queue/join"
"""Path of calls of the page's functions. Gradio copies any file that a call names to the folder
that it serves."""
LARGEST_CALL = 65536
"""Largest JSON of a call, bytes; it contains the values of all controls."""
HOSTS = ("127.0.0.1", "localhost")
"""Host names of this machine that a request may have, against DNS rebinding."""
HEADERS = {"referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
"""Headers of every response."""
NOTHING = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Content security policy of everything but pages: opened alone, it can do nothing."""
SCRIPTS = ("/assets/", "/static/", "/svelte/")
"""Paths of the page's own scripts; uploads have others."""


def page_policy(origin: str, text: str) -> str:
    """Content security policy of a served page.

    It allows the scripts of the page's library, and those that the library wrote into the page by
    their hashes; no others run. `unsafe-eval` is needed because the library evaluates its own texts
    as functions. Nothing is fetched from other hosts.

    Args:
        origin: Scheme, host and port of the server.
        text: HTML of the page.
    """
    hashes = " ".join(dict.fromkeys(map(source_hash, _Scripts.of(text))))
    places = " ".join(origin + place for place in SCRIPTS)
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src {places} 'unsafe-eval' {hashes}".rstrip(),
            "script-src-attr 'none'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "frame-src 'none'",
            "base-uri 'self'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


class _Scripts(HTMLParser):
    """Collects the inline scripts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    @classmethod
    def of(cls, text: str) -> list[str]:
        parser = cls()
        parser.feed(text)
        parser.close()
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and not any(name == "src" for name, _ in attrs)
        if self._inside:
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


class Guard:
    """ASGI application that passes on the requests of the page and refuses all others."""

    def __init__(self, app: App, *, folder: Path, largest_upload: int) -> None:
        """Guard `app`.

        Args:
            app: The ASGI application of the page.
            folder: Folder of uploads, the only one whose files are served.
            largest_upload: Largest upload, bytes; the folder holds at most four of this size.
        """
        self.app = app
        self.folder = folder.resolve()
        self.largest_upload = largest_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
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

        await self.app(scope, receive, _Protected(send, f"http://{headers['host']}").send)

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
        # A form adds lines of its own to the file.
        most = LARGEST_CALL if path.rstrip("/") == CALL else self.largest_upload + 4096
        if not length.isdigit() or int(length) > most:
            return 413, f"at most {most} bytes may be sent"
        if scope["method"] == "POST" and "content-length" not in headers:
            return 411, "say the length"
        return None

    def _names_uploads(self, body: bytes) -> bool:
        """Whether every file that a call's JSON names is in the folder."""
        try:
            asked = parse_json(body)
        except ValueError:
            return False
        return all(isinstance(name, str) and self._serves(name) for name in _files(asked))

    def _serves(self, name: str) -> bool:
        """Whether a name, as given and URL-decoded, is a file in the folder."""
        for asked in (name, unquote(name)):
            if "\0" in asked:
                return False
            path = Path(asked)
            if not path.is_absolute() or not path.resolve().is_relative_to(self.folder):
                return False
        return Path(name).is_file()


def _files(data: Any) -> Iterator[Any]:
    """All paths that a JSON value names, at any depth."""
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
    """`receive` that first replays a body that was read already."""
    waiting = [body]

    async def replay() -> MutableMapping[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay


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


class _Protected:
    """Sends a response with protective headers; a page is sent once it is complete."""

    def __init__(self, send: Send, origin: str) -> None:
        self._send, self._origin = send, origin
        self._start: MutableMapping[str, Any] | None = None
        self._parts: list[bytes] = []

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message.get("headers", []))
            if headers.get(b"content-type", b"").startswith(b"text/html"):
                self._start = message
            else:
                await self._begin(message, NOTHING)
        elif self._start is not None and message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                page = b"".join(self._parts)
                await self._begin(self._start, page_policy(self._origin, page.decode()))
                await self._send({"type": "http.response.body", "body": page})
        else:
            await self._send(message)

    async def _begin(self, message: MutableMapping[str, Any], policy: str) -> None:
        more = HEADERS | {"content-security-policy": policy}
        added = [(name.encode(), value.encode()) for name, value in more.items()]
        message["headers"] = [*message.get("headers", []), *added]
        await self._send(message)


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    protected = _Protected(send, "")
    await protected.send({"type": "http.response.start", "status": status, "headers": headers})
    await protected.send({"type": "http.response.body", "body": text.encode()})
