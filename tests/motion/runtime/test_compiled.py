"""Where compiled loops are kept when neither the installation nor the home can be written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import smile_motion

COUNT = """
import numpy as np
from smile_motion.truth._kernels import count_ids

assert count_ids(np.ones((1, 2, 3), np.uint8), 1).item() == 6
print(count_ids.stats.cache_path)
print(sum(count_ids.stats.cache_hits.values()))
"""
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
"""What makes root obey the modes of files, as everybody else does."""


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A copy of the package that cannot be written."""
    folder = tmp_path / "installation"
    shutil.copytree(
        Path(smile_motion.__file__).parent,
        folder / "smile_motion",
        ignore=shutil.ignore_patterns("__pycache__", "bank", "cli", "explore", "export"),
    )
    for part in [folder / "smile_motion", *(folder / "smile_motion").rglob("*/")]:
        if part.is_dir():
            part.chmod(0o555)
    return folder


def count(installation: Path, temporary: Path) -> tuple[Path, int, str]:
    """Count pixels in a process without a home: where its machine code is kept, how much of it
    was there already, and what the process said."""
    kept = ("PATH", "NUMBA_CPU_NAME")
    environment = {name: os.environ[name] for name in kept if name in os.environ} | {
        "HOME": "/proc/nobody", "TMPDIR": str(temporary), "PYTHONPATH": str(installation),
    }  # fmt: skip
    ended = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", COUNT],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    path, hits = ended.stdout.splitlines()
    return Path(path), int(hits), ended.stderr


@pytest.mark.slow
def test_without_a_place_of_its_own_numba_uses_a_private_temporary_folder(
    installation: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    own = temporary / f"smile-motion-{os.getuid()}"
    path, hits, said = count(installation, temporary)
    assert (path.parents[1], hits) == (own, 0)
    assert own.stat().st_mode & 0o777 == 0o700
    assert said.count("\n") == 1, said
    assert str(own) in said
    assert count(installation, temporary)[:2] == (path, 1), "kept for the next process"
    own.chmod(0o777)  # anybody may have put code there
    elsewhere, hits, _ = count(installation, temporary)
    assert (elsewhere.parents[2], hits) == (temporary, 0)
    assert elsewhere.parents[1] != own
