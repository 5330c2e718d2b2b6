"""What the explorer's server answers, asked over real sockets."""

import http.client
import json
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from smile_motion import ObjectBank
from support.explorer_process import Explorer, explorer

SECRET = "what nobody may read"
TINY = {"side": 64, "frames": 4}


@pytest.fixture(scope="module")
def running(small_bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    temporary = tmp_path_factory.mktemp("temporary")
    with explorer(temporary, "--bank", small_bank.path, "--max-upload-mb", "1") as started:
        yield started


def ask(
    running: Explorer, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    """Send a path as it is, without a client that would clean it."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
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


def call(running: Explorer, path: str, body: bytes) -> tuple[int, bytes]:
    """As the page does."""
    return ask(running, path, method="POST", body=body, x_smile_motion="page")


def upload(running: Explorer, name: str, content: bytes) -> tuple[int, bytes]:
    return call(running, f"/api/upload?name={name}", content)


def show(running: Explorer, **controls: Any) -> tuple[int, Any]:
    status, said = call(running, "/api/clip", json.dumps({"controls": TINY | controls}).encode())
    return status, json.loads(said)


def test_it_listens_on_this_machine_alone(running: Explorer) -> None:
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == running.port
    ]
    assert listening == [f"0100007F:{running.port:04X}"]


def test_no_file_is_served_by_its_name(running: Explorer, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    inside = running.folder / "seen.txt"
    inside.write_text(SECRET)
    up, encoded = "../" * 12, "%2e%2e%2f" * 12
    for path in (
        f"{secret}", f"{inside}", f"/{inside.name}", f"/file={secret}", f"/player.js/{up}{secret}",
        f"/{up}etc/passwd", f"/{encoded}etc/passwd", "/etc/passwd", "//etc/passwd",
        f"/explorer.css/{encoded}{str(secret)[1:]}", f"/..%5c..%5c{secret}", f"file://{secret}",
        "/state.py", "/explorer.html", "/player.py", "/docs", "/api", "/api/", "/api/upload/1",
        "/%00", "/player.js%00", f"/api/object?index={secret}", f"/api/objects?page={secret}",
    ):  # fmt: skip
        status, said = ask(running, path)
        assert status in (400, 404, 422), path
        assert SECRET.encode() not in said
        assert b"root:" not in said


def test_a_path_handed_in_as_an_upload_is_refused(
    running: Explorer, tmp_path: Path, real_videos: dict[str, Path]
) -> None:
    """The page's own call, with another file than one that was uploaded."""
    secret = tmp_path / "secret.mp4"
    shutil.copyfile(real_videos["bikes"], secret)
    for named in (str(secret), f"{running.folder}/../{secret}", "99", [str(secret)], {"a": 1}):
        assert show(running, upload=named) == (
            422,
            {"problem": "the video is no longer here; upload it again"},
        )
    assert not list(running.folder.rglob("secret.mp4"))


def test_uploads_are_bounded_and_lie_in_its_folder(running: Explorer) -> None:
    status, said = upload(running, "../../../escaped.mp4", b"no video")
    assert status == 200
    given = json.loads(said)
    assert given["name"] == "escaped.mp4"
    (stored,) = running.folder.parents[1].rglob("escaped.mp4")
    assert stored.is_relative_to(running.folder)
    status, problem = show(running, upload=given["upload"])
    assert status == 422
    assert problem["problem"].startswith("escaped.mp4: not a readable video")
    assert upload(running, "page.html", b"<script>")[0] == 422
    assert upload(running, "large.mp4", bytes(1_100_000))[0] == 413
    assert not list(running.folder.rglob("large.mp4"))
    for wrong in ({"content_length": "x"}, {"transfer_encoding": "chunked"}):
        status, _ = ask(
            running, "/api/upload?name=a.mp4", method="POST", body=b"0\r\n\r\n",
            x_smile_motion="page", **wrong,
        )  # fmt: skip
        assert status in (411, 413)
    for number in range(6):
        assert upload(running, f"{number}.mp4", bytes([number]) * 900_000)[0] == 200
    held = sum(path.stat().st_size for path in running.folder.rglob("*") if path.is_file())
    assert held <= 4_000_000


def test_other_pages_and_names_are_refused(running: Explorer) -> None:
    assert ask(running, "/")[0] == 200
    assert ask(running, "/", host=f"evil.example:{running.port}")[0] == 403
    assert ask(running, "/", origin="http://evil.example")[0] == 403
    assert ask(running, "/", origin=running.address.rstrip("/"))[0] == 200
    assert ask(running, "/", sec_fetch_site="cross-site")[0] == 403
    # A form of another site can send no header of its own.
    assert ask(running, "/api/clip", method="POST", body=b"{}")[0] == 403
    assert ask(running, "/", method="POST", body=b"{}", x_smile_motion="page")[0] == 404
    assert call(running, "/api/clip", bytes(70_000))[0] == 413


def test_headers_protect_every_answer(running: Explorer) -> None:
    for path in ("/", "/player.js", "/api/page", "/nothing"):
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
        connection.request("GET", path)
        headers = {name.lower(): value for name, value in connection.getresponse().getheaders()}
        connection.close()
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert ("sandbox" in policy) == (path != "/")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "controls: not JSON"),
        (b"[]", r"controls is \[\]; expected|controls: \[\]|controls is \[\]"),
        (b'{"controls": 3}', "controls: not an object"),
        (b'{"controls": {"objects": 40}}', "objects is 40; give 0 to 16"),
        (b'{"controls": {"objects": true}}', "objects is True; expected a valid integer"),
        (b'{"controls": {"objects": NaN}}', "not JSON|objects"),
        (b'{"controls": {"mask_ratio": 1e999}}', "mask_ratio|not JSON"),
        (b'{"controls": {"path": "spiral"}}', "path is 'spiral'; expected"),
        (b'{"controls": {"speed": 1}}', "speed is an unknown field"),
        (b'{"controls": {"compare": "accelerating-crops"}}', "baselines of photographs need"),
        (b'{"controls": {"background": "natural"}}', "background natural needs videos"),
    ],
)
def test_calls_are_checked_in_one_line(running: Explorer, body: bytes, said: str) -> None:
    status, answer = call(running, "/api/clip", body)
    assert status == 422
    problem = json.loads(answer)["problem"]
    assert re.search(said, problem), problem
    assert "\n" not in problem


def test_exports_fit_their_numbers(running: Explorer) -> None:
    numbers = "frames=2&height=4&width=6&rate=8"
    sound = bytes(range(192))
    status, gif = call(running, f"/api/encode?format=gif&{numbers}", sound)
    assert (status, gif[:3]) == (200, b"GIF")
    for query, body in (
        (f"format=webm&{numbers}", sound),
        (f"format=gif&{numbers}", sound[:-1]),
        ("format=gif&frames=-2&height=-4&width=6&rate=8", sound),
        ("format=gif&frames=2&height=4&width=6&rate=nan", sound),
        ("format=gif&frames=2&height=4&width=6", sound),
    ):
        status, answer = call(running, f"/api/encode?{query}", body)
        assert status == 422, query
        assert json.loads(answer)["problem"].endswith("reload the page")


def test_a_taken_port_is_said_in_one_line(
    small_bank: ObjectBank, capsys: pytest.CaptureFixture[str]
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


def test_nothing_stays_when_it_ends_but_kept_uploads(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    kept = tmp_path / "kept"
    with explorer(temporary, "--bank", small_bank.path, "--uploads", kept) as started:
        assert upload(started, "mine.mp4", b"first")[0] == 200
        assert upload(started, "mine.mp4", b"other")[0] == 200
        assert upload(started, "mine.mp4", b"first")[0] == 200
    assert started.process.returncode == 0
    assert not list(temporary.iterdir())
    assert sorted(path.read_bytes() for path in kept.iterdir()) == [b"first", b"other"]
