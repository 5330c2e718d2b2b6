import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from smile_motion.cli.app import Command, run_app
from smile_motion.errors import InputError
from smile_motion.io.files import (
    full_disk_named,
    replacing,
    shared_memory_explained,
    write_atomically,
)
from smile_motion.video.encoder import write_video


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse more bytes in a file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wrote_bytecode = not sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python leaves what fits of a module's, and reads that later.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        sys.dont_write_bytecode = not wrote_bytecode
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(b"before")
    with largest_file(10_000), pytest.raises(OSError, match="File too large") as caught:
        write_atomically(path, bytes(100_000))
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert [other.name for other in tmp_path.iterdir()] == ["result.bin"]
    assert path.read_bytes() == b"before"


def test_errors_of_libraries_are_laid_to_the_full_disk_where_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    weights = {"w": torch.zeros(100_000)}
    with (
        largest_file(10_000),
        pytest.raises(OSError, match=r"File too large.*model\.safetensors"),
        replacing(tmp_path / "model.safetensors") as temporary,
    ):
        save_file(weights, temporary)
    # PyAV names what it writes, of which only the last name is ours.
    frames = np.random.default_rng(0).integers(0, 255, (8, 128, 128, 3), np.uint8)
    with (
        largest_file(10_000),
        pytest.raises(OSError, match=r"File too large.*/clip\.mp4'$"),
    ):
        write_video(tmp_path / "clip.mp4", frames)
    with (
        pytest.raises(FileNotFoundError) as missing,
        replacing(tmp_path / "folder") as temporary,
    ):
        (temporary / "inside.png").write_bytes(b"")
    assert missing.value.filename == str(tmp_path / "folder/inside.png")
    with pytest.raises(FileNotFoundError) as other, replacing(tmp_path / "folder"):
        (tmp_path / "other").read_bytes()
    assert other.value.filename == str(tmp_path / "other")
    # torch gives no reason: that the disk is full tells it.
    full = os.statvfs_result((4096, 4096, 100, 0, 0, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(OSError, match="No space left") as caught, full_disk_named(tmp_path / "x"):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    assert caught.value.filename == str(tmp_path / "x")
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="Stream"), full_disk_named(tmp_path / "x"):
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    with pytest.raises(InputError), full_disk_named(tmp_path / "x"):
        raise InputError("as it was")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some"),
        (OSError(errno.EFBIG, "File too large", "/a/b"), "/a/b: File too large; raise the limit"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a"), "/a: Disk quota exceeded; free some"),
    ],
)
def test_commands_say_what_to_do_about_it(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from smile_motion.cli.bank import verify as bank_verify

    def run(_: object) -> None:
        raise error

    monkeypatch.setattr(bank_verify, "run", run)
    commands = [Command("verify", "", "smile_motion.cli.bank.verify")]
    assert run_app("program", "", commands, ["verify", "folder"]) == 2
    assert said in capsys.readouterr().err


def test_processes_without_shared_memory_are_told_what_they_lack(tmp_path: Path) -> None:
    for error in (
        OSError(errno.EROFS, "Read-only file system"),
        RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left"),
        ImportError("This platform lacks a functioning sem_open implementation"),
    ):
        with (
            pytest.raises(InputError, match=r"^/dev/shm: .*--shm-size, or use --workers 0$"),
            shared_memory_explained(),
        ):
            raise error
    with pytest.raises(FileNotFoundError), shared_memory_explained():
        (tmp_path / "missing").read_bytes()
    with pytest.raises(RuntimeError, match="another"), shared_memory_explained():
        raise RuntimeError("another fault")
