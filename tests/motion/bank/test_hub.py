import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank import ObjectBank
from smile_motion.bank.hub import export_bank
from smile_motion.bank.subset import subset
from support import forked
from support.hub_server import ANEW, OWNER, READER, TOKEN, Hub, running_hub


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running_hub() as server:
        yield server


@pytest.fixture
def run(hub: Hub, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Call the command against the small hub, from an empty folder."""
    (tmp_path / "work").mkdir()

    def call(*arguments: object, **changed: str) -> subprocess.CompletedProcess:
        unknown = {name: None for name in os.environ if name.startswith(("HF_", "SMILE_"))}
        told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN}
        return forked.run(
            "smile_motion",
            ["bank", *arguments],
            cwd=tmp_path / "work",
            environment={**unknown, **told, **changed},
            prepare=ANEW,
        )

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pictures(folder: Path) -> list[Path]:
    return list((folder / "images").rglob("*.png"))


@pytest.mark.slow
def test_a_bank_goes_to_the_hub_and_back(
    split_bank: ObjectBank,
    hub: Hub,
    tmp_path: Path,
    run: Callable[..., subprocess.CompletedProcess],
) -> None:
    pushed = run("push", split_bank.path, "cut-outs", "--private")
    assert pushed.returncode == 0, pushed.stderr
    repository = hub.repositories[f"{OWNER}/cut-outs"]
    assert repository.private
    files = repository.commits[repository.branches["main"]]
    export_bank(split_bank.path, tmp_path / "exported", name="cut-outs")
    assert files == {".gitattributes": b"", **contents(tmp_path / "exported")}

    pulled = run("pull", f"{OWNER}/cut-outs", SMILE_OBJECT_BANKS=str(tmp_path / "banks"))
    assert pulled.returncode == 0, pulled.stderr
    assert "6 objects in 3 categories, all as recorded" in pulled.stdout
    bank = ObjectBank(tmp_path / "banks/cut-outs")
    np.testing.assert_array_equal(bank.pixels, split_bank.pixels)
    assert not (bank.path / ".cache").exists()
    assert [path.name for path in (tmp_path / "banks").iterdir()] == ["cut-outs"]

    # A smaller bank on another branch: what it lacks is gone there, and here stays.

    smaller = subset(split_bank.path, [0, 3], tmp_path / "smaller", {})
    branch = run("push", smaller.path, f"{OWNER}/cut-outs", "--revision", "small")
    assert branch.returncode == 0, branch.stderr
    images = [
        sum(name.startswith("images/") for name in repository.commits[oid])
        for oid in (repository.branches["main"], repository.branches["small"])
    ]
    assert images == [6, 2]
    small = run("pull", f"{OWNER}/cut-outs", "--revision", "small", "--out", "small")
    assert "2 objects" in small.stdout
    assert not list(split_bank.path.parent.glob(".push-*"))


def test_a_killed_download_continues(
    split_bank: ObjectBank,
    hub: Hub,
    tmp_path: Path,
    run: Callable[..., subprocess.CompletedProcess],
) -> None:
    export_bank(split_bank.path, tmp_path / "exported")
    whole = contents(tmp_path / "exported")
    hub.add("other/bank", whole)
    hub.served, hub.hold_after = 0, 4
    words = ["bank", "pull", "other/bank", "--out", "bank"]
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DOWNLOAD_TIMEOUT": "300",  # Those that are held wait until they are killed.
    }
    process = forked.start(
        "smile_motion", words, cwd=tmp_path / "work", environment=environment, prepare=ANEW
    )
    try:
        assert hub.held.wait(60)
        # A picture whose hash has not been noted yet would be downloaded again.
        noted = tmp_path / "work/.bank.partial/.cache/huggingface/download/images"
        while len(list(noted.rglob("*.png.metadata"))) < 2:
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        hub.hold_after = None
        hub.go_on.set()
    assert 2 <= len(pictures(tmp_path / "work/.bank.partial")) < 6
    assert not (tmp_path / "work/bank").exists()
    before = len(hub.requests)
    result = run("pull", "other/bank", "--out", "bank")
    assert result.returncode == 0, result.stderr
    fetched = [one for one in hub.requests[before:] if one.startswith("GET /datasets/")]
    assert 0 < len(fetched) < len(whole)
    assert len(ObjectBank.open(tmp_path / "work/bank")) == 6
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["bank"]


@pytest.mark.slow
def test_downloads_that_cannot_be_trusted_leave_nothing(
    split_bank: ObjectBank,
    hub: Hub,
    tmp_path: Path,
    run: Callable[..., subprocess.CompletedProcess],
) -> None:
    export_bank(split_bank.path, tmp_path / "exported")
    sound = contents(tmp_path / "exported")
    image, other = [name for name in sound if name.startswith("images/")][:2]
    swapped = {**sound, image: sound[other]}
    lines = [json.loads(line) for line in sound["metadata.jsonl"].splitlines()]
    lines[0]["file_name"] = "images/../../secret.png"
    leading = {**sound, "metadata.jsonl": "\n".join(map(json.dumps, lines)).encode()}
    cases = {
        "swapped": (
            swapped,
            f"1 files are not as the bank's records say, such as {image}: differs",
        ),
        "leading": (leading, "is not below images/"),
        "outside": ({**sound, "images/../../x.png": b"x"}, "would lead out of the bank's folder"),
        "other": ({"README.md": b"hello"}, "no bank.json, so no bank"),
    }
    for name, (files, message) in cases.items():
        hub.add(f"bad/{name}", files)
        result = run("pull", f"bad/{name}", "--out", "bank")
        assert result.returncode == 2
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
        assert not list((tmp_path / "work").iterdir())
    hub.add("bad/mine", {"train.csv": b"a,b\n"})
    result = run("push", split_bank.path, "bad/mine")
    assert "holds train.csv and no bank.json" in result.stderr
    assert hub.repositories["bad/mine"].commits[hub.repositories["bad/mine"].branches["main"]] == {
        "train.csv": b"a,b\n"
    }


_CALLS = """
import json, os, sys
from smile_motion.__main__ import COMMANDS
from smile_motion.cli.app import run_app
codes = []
for arguments, token in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    codes.append(run_app("smile-motion", "", COMMANDS, ["bank", *arguments]))
print(json.dumps(codes))
"""


@pytest.mark.parametrize(
    ("environment", "cases"),
    [
        (
            {},
            [
                (["pull", "no/bank"], TOKEN, "no/bank: no such repository"),
                (["pull", "closed/bank"], "", "hf auth login"),
                (["pull", "open/bank", "--revision", "v9"], TOKEN, "no revision 'v9'"),
                (["pull", "a/b/c"], TOKEN, "expected owner/name"),
                (["push", "BANK", "a/b"], "", "no token for the hub"),
                (["push", "BANK", "a/b"], READER, "may not write to it (403)"),
                (["push", "BANK", "open/bank", "--private"], TOKEN, "is there and public"),
                (["push", ".", "a/b"], TOKEN, "not a finished bank"),
            ],
        ),
        (
            {"HF_ENDPOINT": "http://127.0.0.1:9"},
            [
                (["pull", "a/b"], TOKEN, "cannot be reached"),
                (["push", "BANK", "a/b"], TOKEN, "cannot be reached"),
            ],
        ),
        ({"HF_HUB_OFFLINE": "1"}, [(["pull", "a/b"], TOKEN, "HF_HUB_OFFLINE is set")]),
    ],
)
def test_what_is_missing_is_one_line_with_a_remedy(
    split_bank: ObjectBank,
    hub: Hub,
    tmp_path: Path,
    environment: dict[str, str],
    cases: list[tuple[list[str], str, str]],
) -> None:
    hub.add("open/bank", {"bank.json": b"{}"})
    hub.add("closed/bank", {"bank.json": b"{}"}, private=True)
    (tmp_path / "work").mkdir()
    calls = [
        ([str(split_bank.path) if one == "BANK" else one for one in arguments], token)
        for arguments, token, _ in cases
    ]
    told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), **environment}
    result = subprocess.run(
        [sys.executable, "-c", _CALLS, json.dumps(calls)],
        capture_output=True, text=True, check=False, cwd=tmp_path / "work",
        env={**os.environ, **told},
    )  # fmt: skip
    assert json.loads(result.stdout) == [2] * len(cases), result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == len(cases), result.stderr
    for line, (_, _, message) in zip(lines, cases, strict=True):
        assert message in line
    assert not list((tmp_path / "work").iterdir())
