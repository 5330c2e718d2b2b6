"""A small hub on this machine: enough of the real one's HTTP API for uploads and downloads of data
sets and models, in memory."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_writer"
READER = "hf_reader"
OWNER = "tester"
ANEW = ("support.forked:forget", ["huggingface_hub"])
"""What prepares programs for another hub than that of the process which they are forked from."""
KIND = r"/api/(?:datasets|models)"


@dataclass
class Repository:
    """Files of every commit, and what the branches point to."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        text = repr((len(self.commits), branch, sorted(files)))
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        return oid


class Hub(ThreadingHTTPServer):
    """The server; `url` is what HF_ENDPOINT should be."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.served = 0
        self.hold_after: int | None = None
        """Pictures after which no more are given until this is None and `go_on` is set."""
        self.held, self.go_on = threading.Event(), threading.Event()
        self.lock = threading.Lock()

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> Repository:
        repository = Repository(private)
        repository.commit("main", files)
        self.repositories[name] = repository
        return repository


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Serve on a free port until the block ends."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"POST {path}")
        with self.server.lock:
            if path == "/api/validate-yaml":
                sound = json.loads(body)["content"].startswith("---\n")
                return self._json({"errors": [], "warnings": []} if sound else {}, 200)
            if self._token() != TOKEN:
                return self._error(403 if self._token() == READER else 401, "may not write")
            if path == "/api/repos/create":
                return self._create(json.loads(body))
            match = re.fullmatch(KIND + r"/([^/]+/[^/]+)/(\w+)/(.+)", path)
            repository = self.server.repositories.get(match[1]) if match else None
            if match is None or repository is None:
                return self._error(404, "no repository", "RepoNotFound")
            match match[2]:
                case "branch":
                    if match[3] in repository.branches:
                        return self._error(409, "there already")
                    repository.branches[match[3]] = repository.branches["main"]
                    return self._json({}, 201)
                case "preupload":
                    return self._preupload(repository, match[3], json.loads(body))
                case "commit":
                    return self._commit(repository, match[1], match[3], body)
        return self._error(404, "no such address")

    def do_HEAD(self) -> None:
        self._get(body=False)

    def do_GET(self) -> None:
        self._get(body=True)

    def _get(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(KIND + r"/([^/]+/[^/]+)", path):
            name, what, revision, rest = match[1], "revision", "main", ""
        elif match := re.fullmatch(KIND + r"/([^/]+/[^/]+)/(revision|tree)/(.+)", path):
            name, what, revision, rest = match[1], match[2], match[3], ""
        elif match := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/(resolve)/([^/]+)/(.+)", path):
            name, what, revision, rest = match.groups()
        else:
            return self._error(404, "no such address")
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and self._token() is None):
            return self._error(404, "no repository", "RepoNotFound")
        oid = repository.branches.get(revision, revision)
        if oid not in repository.commits:
            return self._error(404, "no revision", "RevisionNotFound")
        files = repository.commits[oid]
        if what == "revision":
            info = {"id": name, "sha": oid, "private": repository.private, "tags": []}
            info["siblings"] = [{"rfilename": file} for file in files]
            return self._json(info, 200)
        if what == "tree":
            entries = [
                {"type": "file", "path": file, "size": len(data), "oid": _git_oid(data)}
                for file, data in files.items()
            ]
            return self._json(entries, 200)
        if rest not in files:
            return self._error(404, "no file", "EntryNotFound")
        if body and rest.startswith("images/"):
            with self.server.lock:
                self.server.served += 1
                limit = self.server.hold_after
                hold = limit is not None and self.server.served > limit
            if hold:
                self.server.held.set()
                self.server.go_on.wait()
                self.close_connection = True
                return None
        self.send_response(200)
        self.send_header("X-Repo-Commit", oid)
        self.send_header("ETag", f'"{_git_oid(files[rest])}"')
        self.send_header("Content-Length", str(len(files[rest])))
        self.end_headers()
        if body:
            self.wfile.write(files[rest])
        return None

    def _create(self, wanted: dict) -> None:
        name = f"{wanted.get('organization') or OWNER}/{wanted['name']}"
        url = f"{self.server.url}/datasets/{name}"
        if name in self.server.repositories:
            return self._json({"error": "there already", "url": url}, 409)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.server.add(name, {".gitattributes": b""}, private=bool(private))
        return self._json({"url": url, "name": name}, 200)

    def _preupload(self, repository: Repository, branch: str, wanted: dict) -> None:
        files = repository.commits[repository.branches[branch]]
        answer = [
            {
                "path": file["path"],
                "uploadMode": "regular",
                "shouldIgnore": False,
                "oid": _git_oid(files[file["path"]]) if file["path"] in files else None,
            }
            for file in wanted["files"]
        ]
        self._json({"files": answer}, 200)

    def _commit(self, repository: Repository, name: str, branch: str, body: bytes) -> None:
        files = dict(repository.commits[repository.branches[branch]])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "deletedFile":
                    del files[value["path"]]
        oid = repository.commit(branch, files)
        url = f"{self.server.url}/datasets/{name}/commit/{oid}"
        self._json({"commitUrl": url, "commitOid": oid, "success": True}, 200)

    def _token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def _error(self, status: int, message: str, code: str | None = None) -> None:
        self._json({"error": message}, status, {"X-Error-Code": code} if code else {})

    def _json(self, data: object, status: int, headers: dict[str, str] | None = None) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)
