"""Models by a hub name where the hub cannot be reached: told in seconds, or found in the cache."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import smile_train
from huggingface_hub import constants
from smile_motion.bank.candidates.diffusion import Diffusion
from smile_motion.bank.candidates.score import ClipScorer
from smile_motion.bank.candidates.segmenters import open_segmenter
from smile_motion.bank.hub import pull
from smile_motion.errors import InputError, in_one_line, shortened
from smile_motion.io import hub as hub_access
from smile_motion.io.hub import hub_or_cache, why_offline
from smile_train.teachers import ClipTeacher, TimmTeacher
from support.hub_server import OWNER, running_hub
from support.no_network import no_network
from support.tiny_clip import write_tiny_clip
from support.tiny_segmenters import write_tiny_clipseg

BY_NAME: dict[str, tuple[Callable[[], object], str]] = {
    "clipseg": (lambda: open_segmenter("clipseg"), "give clipseg=FOLDER"),
    "scorer": (lambda: ClipScorer.open("ViT-B-32"), "give a folder that open_clip wrote"),
    "clip teacher": (
        lambda: ClipTeacher.open("ViT-B-16-quickgelu"),
        "give a folder that open_clip wrote",
    ),
    "open_clip hub": (
        lambda: ClipTeacher.open("hf-hub:nobody/nothing"),
        "give a folder that open_clip wrote",
    ),
    "timm teacher": (
        lambda: TimmTeacher.open("vit_small_patch16_224.dino"),
        "give --teacher a folder",
    ),
    "diffusion": (
        lambda: Diffusion.open("nobody/nothing", device="cpu"),
        "give --model a folder",
    ),
    "encoder": (lambda: smile_train.load("nobody/nothing"), "give its folder"),
}
"""What opens a model by its name, and what is advised instead."""


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", BY_NAME)
def test_without_a_network_a_name_is_refused_at_once(kind: str) -> None:
    read, advice = BY_NAME[kind]
    with no_network() as tried, pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert message.endswith(f"; fetch it once on a machine with a network, or {advice}")
    assert f"{constants.ENDPOINT} cannot be reached (ConnectError)" in message
    assert len(tried) == 1, "asked again"
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("kind", BY_NAME)
def test_switched_offline_it_says_so(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with no_network() as tried, pytest.raises(InputError) as caught:
        BY_NAME[kind][0]()
    assert "the hub is switched offline (HF_HUB_OFFLINE is set; unset it" in str(caught.value)
    assert not tried


def test_a_bank_is_not_pulled_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_network() as tried, pytest.raises(InputError, match=r"cannot be reached .*; check the"):
        pull("nobody/nothing", tmp_path / "bank")
    assert len(tried) == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="switched offline"):
        pull("nobody/nothing", tmp_path / "bank")


def put_into_cache(folder: Path, name: str, cache: Path) -> str:
    """Lay a folder into the hub's cache, as a download does; returns its commit."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(commit)
    return commit


def test_what_is_in_the_cache_is_read_without_a_network(tmp_path: Path, empty_cache: Path) -> None:
    commit = put_into_cache(write_tiny_clipseg(tmp_path / "a"), "some/clipseg", empty_cache)
    put_into_cache(write_tiny_clip(tmp_path / "b"), "some/clip", empty_cache)
    with no_network() as tried:
        card = open_segmenter("clipseg=some/clipseg").card()
        assert (card["model"], card["revision"]) == ("some/clipseg", commit)
        assert ClipTeacher.open("hf-hub:some/clip").width == 32
        assert ClipScorer.open("hf-hub:some/clip").card()["model"] == "hf-hub:some/clip"
    assert len(tried) == 3, "each asks once"


@pytest.fixture
def silent_endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        yield url


def test_a_hub_that_does_not_answer_is_not_waited_for(
    silent_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_access, "PATIENCE_S", 1.2)
    started = time.monotonic()
    assert silent_endpoint in str(why_offline())
    assert time.monotonic() - started < 10


def test_what_the_hub_says_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        assert why_offline() is None
        with pytest.raises(InputError, match="no such repository at"):
            smile_train.load(f"{OWNER}/nothing")


def test_other_errors_are_not_the_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        with pytest.raises(KeyError), hub_or_cache("x", instead="y"):
            raise KeyError("a")


def test_long_messages_end_after_a_word() -> None:
    assert shortened("one two three", 13) == "one two three"
    assert shortened("one\n two, three", 12) == "one two …"
    assert shortened("x" * 30, 10) == "xxxxxxxxx …"
    said = in_one_line(ValueError("word " * 100))
    assert len(said) <= 201
    assert said.endswith("word …")
