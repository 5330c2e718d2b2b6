"""What the explorer's server answers, asked over real sockets."""

import http.client
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from smile_motion import ObjectBank
from support.explorer_process import Explorer, explorer

SECRET = "what nobody may read"
FILES = "/gradio_api/file="


@pytest.fixture(scope="module")
def running(small_bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    temporary = tmp_path_factory.mktemp("temporary")
    with explorer(temporary, "--bank", small_bank.path, "--max-upload-mb", "1") as started:
        yield started


def ask(
    running: Explorer, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    """Send a path as it is, without a client that would clean it."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None and "content_length" not in headers:
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    try:
        return response.status, response.read()
    finally:
        connection.close()


def upload(running: Explorer, name: str, content: bytes) -> tuple[int, bytes]:
    head = f'--X\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + content + b"\r\n--X--\r\n"
    kind = "multipart/form-data; boundary=X"
    return ask(running, "/gradio_api/upload", method="POST", body=body, content_type=kind)


@pytest.mark.slow
def test_it_listens_on_this_machine_alone(running: Explorer) -> None:
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == running.port
    ]
    assert listening == [f"0100007F:{running.port:04X}"]


def test_files_outside_its_folder_are_not_served(running: Explorer, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    inside = running.folder / "seen.txt"
    inside.write_text("mine")
    assert ask(running, f"{FILES}{inside}") == (200, b"mine")
    link = running.folder / "link.txt"
    link.symlink_to(secret)
    (beside := running.folder.with_name(running.folder.name + "-beside")).mkdir()
    (beside / "secret.txt").write_text(SECRET)
    up = "../" * 12
    encoded = "%2e%2e%2f" * 12
    doubly = "%252e%252e%252f" * 12
    for path in (
        f"{FILES}{secret}",
        f"{FILES}{link}",
        f"{FILES}{beside}/secret.txt",
        f"{FILES}{running.folder}/../../{secret}",
        f"{FILES}{running.folder}/{up}{secret}",
        f"{FILES}{running.folder}/{encoded}{str(secret)[1:]}",
        f"{FILES}{running.folder}/{doubly}{str(secret)[1:]}",
        f"{FILES}{running.folder}/seen.txt%00/../../{secret}",
        f"{FILES}file://{secret}",
        f"{FILES}http://127.0.0.1:{running.port}/config",
        f"{FILES}pyproject.toml",
        f"{FILES}{up}etc/passwd",
        f"{FILES}/etc/passwd",
        f"{FILES}//etc/passwd",
        "/gradio_api/file//etc/passwd",
        f"/gradio_api/proxy=file://{secret}",
        f"/gradio_api/stream/a/b/{encoded}{str(secret)[1:]}",
        f"/static/{up}{str(secret)[1:]}",
        f"/static/{encoded}{str(secret)[1:]}",
        f"/assets/{encoded}{str(secret)[1:]}",
        f"/assets/..%5c..%5c{secret}",
        f"/svelte/{encoded}etc/passwd",
        f"/{up}etc/passwd",
        f"{secret}",
        "/gradio_api/custom_component/x/client/component/../../../../etc/passwd",
        "/monitoring", "/docs", "/gradio_api/openapi.json", "/gradio_api/runs", "/login",
    ):  # fmt: skip
        status, said = ask(running, path)
        assert status in (400, 403, 404), path
        assert SECRET.encode() not in said
        assert b"root:" not in said


def test_a_path_handed_in_as_an_upload_is_refused(
    running: Explorer, tmp_path: Path, real_videos: dict[str, Path]
) -> None:
    """The page's own call, with another file than one that was uploaded."""
    secret = tmp_path / "secret.mp4"
    shutil.copyfile(real_videos["bikes"], secret)
    config = json.loads(ask(running, "/config")[1])
    kinds = {entry["id"]: entry["type"] for entry in config["components"]}
    calls = [
        call
        for call in config["dependencies"]
        if any(kinds[place] == "file" for place in call["inputs"]) and len(call["inputs"]) > 10
    ]
    assert len(calls) == 1
    defaults = {entry["id"]: entry["props"].get("value") for entry in config["components"]}
    stored = json.loads(upload(running, "mine.mp4", b"no video")[1])[0]

    def call(**named: object) -> tuple[int, bytes]:
        file = {"orig_name": "a.mp4", "meta": {"_type": "gradio.FileData"}} | named
        data = [file if kinds[place] == "file" else defaults[place] for place in calls[0]["inputs"]]
        asked = {"data": data, "fn_index": calls[0]["id"], "session_hash": "abc"}
        body, kind = json.dumps(asked).encode(), "application/json"
        return ask(running, "/gradio_api/queue/join", method="POST", body=body, content_type=kind)

    for named in (
        str(secret),
        f"{running.folder}/../{secret}",
        f"http://127.0.0.1:{running.port}/config",
        [str(secret)],
        secret.name,
    ):
        assert call(path=named) == (403, b"a call may name uploaded files only")
    assert call(path=stored)[0] == 200
    said = ask(running, "/gradio_api/queue/data?session_hash=abc")[1]
    assert b"mine.mp4: not a readable video" in said
    assert not list(running.folder.rglob("secret.mp4"))


def test_uploads_are_bounded_and_lie_in_its_folder(running: Explorer) -> None:
    status, said = upload(running, "../../../escaped.mp4", b"small")
    assert status == 200
    (stored,) = json.loads(said)
    assert Path(stored).is_relative_to(running.folder)
    everywhere = list(running.folder.parents[1].rglob("escaped.mp4"))
    assert everywhere == [Path(stored)]
    assert upload(running, "large.mp4", bytes(1_100_000))[0] == 413
    assert not list(running.folder.rglob("large.mp4"))
    claimed = {"content_type": "multipart/form-data; boundary=X", "transfer_encoding": "chunked"}
    status, _ = ask(running, "/gradio_api/upload", method="POST", body=b"0\r\n\r\n",
                    content_length="x", **claimed)  # fmt: skip
    assert status in (400, 411, 413)
    for number in range(6):
        assert upload(running, f"{number}.mp4", bytes([number]) * 900_000)[0] == 200
    held = sum(path.stat().st_size for path in running.folder.rglob("*") if path.is_file())
    assert held <= 4_000_000


def test_other_pages_and_names_are_refused(running: Explorer) -> None:
    assert ask(running, "/config")[0] == 200
    assert ask(running, "/config", host=f"evil.example:{running.port}")[0] == 403
    assert ask(running, "/config", origin="http://evil.example")[0] == 403
    assert ask(running, "/config", origin=running.address.rstrip("/"))[0] == 200


def test_a_taken_port_is_said_in_one_line(
    running: Explorer, small_bank: ObjectBank, capsys: pytest.CaptureFixture[str]
) -> None:
    from smile_motion.__main__ import COMMANDS
    from smile_motion.cli.app import run_app

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        words = ["explore", "--bank", str(small_bank.path), "--port", port]
        assert run_app("smile-motion", "", COMMANDS, words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"smile-motion explore: --port {port}: cannot be listened on")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_nothing_stays_when_it_ends(small_bank: ObjectBank, tmp_path: Path) -> None:
    with explorer(tmp_path, "--bank", small_bank.path) as started:
        assert started.folder.is_dir()
    assert started.process.returncode == 0
    assert not list(tmp_path.iterdir())
