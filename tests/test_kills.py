import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_commands_killed_at_random_moments_lose_nothing() -> None:
    """The short form of the campaign: a build, a render, and a run under its launcher."""
    script = Path(__file__).parents[1] / "benchmarks/kills.py"
    words = ("--kills", "8", "--jobs", "build", "render-webdataset", "launched")
    ended = subprocess.run([sys.executable, script, *words], stdout=-1, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    assert "8 kills in" in ended.stdout
