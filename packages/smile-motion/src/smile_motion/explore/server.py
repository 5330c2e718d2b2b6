"""A server for one page on this machine alone: fixed paths, no files by name.

An answer is a function of the request: its query and its body. Nothing is looked up by a path that
the request gives.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from smile_motion.errors import InputError, in_one_line
from smile_motion.explore.guard import HEADERS, NOTHING, PAGE_POLICY, find_refusal
from smile_motion.io.files import dump_json

ADDRESS = "127.0.0.1"
"""Address that the server listens on."""
LARGEST_CALL = 65536
"""Most bytes of a call, unless its route says otherwise; it contains the values of all controls."""
PATIENCE_S = 60.0
"""Seconds that a request may take to arrive."""
MOST_DRAINED, DRAIN_S = 1 << 28, 5.0
"""Most bytes of a refused request that are read and dropped, and most seconds between them."""
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
"""Content type of each kind of file of the package."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a page asks."""

    query: Mapping[str, str] = field(default_factory=dict)
    """Values behind the path's question mark."""
    body: bytes = b""
    """What was sent."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server sends."""

    body: bytes
    """The content."""
    kind: str = "application/json"
    """Its content type."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """How the server answers a path."""

    answer: Callable[[Request], Answer]
    """Function of the request; an InputError or OSError is shown on the page in one line."""
    method: str = "POST"
    """GET or POST."""
    most_bytes: int = LARGEST_CALL
    """Most bytes that may be sent."""


def answer_json(data: Any) -> Answer:
    """Answer with JSON values."""
    return Answer(body=dump_json(data))


def file_route(path: Path) -> Route:
    """Answer with a file of the package, always the same one."""
    content, kind = path.read_bytes(), KINDS[path.suffix]
    return Route(method="GET", answer=lambda _request: Answer(body=content, kind=kind))


def serve(routes: Mapping[str, Route], *, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until the process is interrupted.

    Args:
        routes: Answer of each path, such as `/`.
        port: Port to listen on; 0 takes a free one.
        on_ready: Called with the page's URL once the server listens.

    Raises:
        InputError: The port is in use.
    """

    class Handler(_Handler):
        answers = routes

    try:
        server = _Server((ADDRESS, port), Handler)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--port {port}: cannot be listened on ({error}); give another, or 0 for any"
        ) from error
    with server:
        on_ready(f"http://{ADDRESS}:{server.server_address[1]}/")
        server.serve_forever(poll_interval=0.2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about browsers that leave; anything else is a fault to be seen."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    answers: Mapping[str, Route]
    protocol_version = "HTTP/1.1"
    server_version = "smile-motion"
    sys_version = ""
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""

    def _handle(self, method: str) -> None:
        address = urlsplit(self.path)
        route = self.answers.get(address.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        most = LARGEST_CALL if route is None else route.most_bytes
        refusal = find_refusal(method, headers, most_bytes=most)
        if refusal is None and (route is None or route.method != method):
            refusal = (404, "no such page")
        if refusal is not None:
            self._refuse(*refusal)
            return
        assert route is not None
        body = self.rfile.read(int(headers["content-length"])) if method == "POST" else b""
        query = dict(parse_qsl(address.query, keep_blank_values=True, max_num_fields=20))
        try:
            answer = route.answer(Request(query=query, body=body))
        except (InputError, OSError) as error:
            self._send(422, dump_json({"problem": in_one_line(error, length=400)}))
        except Exception as error:  # shown on the page in one line, and in the terminal whole
            traceback.print_exc(file=sys.stderr)
            said = f"{type(error).__name__}; the terminal that the explorer runs in says more"
            self._send(500, dump_json({"problem": said}))
        else:
            self._send(200, answer.body, answer.kind)

    def _refuse(self, status: int, said: str) -> None:
        self.close_connection = True
        self._send(status, said.encode(), "text/plain; charset=utf-8")
        # Who still sends would otherwise see a broken connection in place of the answer.
        length = self.headers.get("content-length", "0")
        self.connection.settimeout(DRAIN_S)
        left = min(int(length), MOST_DRAINED) if length.isascii() and length.isdigit() else 0
        while left > 0 and (part := self.rfile.read(min(left, 1 << 16))):
            left -= len(part)

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        policy = PAGE_POLICY if kind.startswith("text/html") else NOTHING
        self.send_response(status)
        own = {"content-type": kind, "content-length": str(len(body))}
        if self.close_connection:
            own["connection"] = "close"
        for name, value in (HEADERS | own | {"content-security-policy": policy}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
