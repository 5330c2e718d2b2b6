from pathlib import Path

import pytest
from support import forked

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_commands_killed_at_random_moments_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The short form of the campaign: a render and a run, forked to save their imports.

    Builds that are killed have a test of their own, moment by moment.
    """
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import kills

    def start(job: kills.Job, place: Path, mark: str, *, again: bool) -> forked.ForkedProgram:
        words = [*job.words, *(["--resume"] if again and job.resume else [])]
        return forked.start(
            words[0], words[1:], cwd=place, environment={kills.MARK: mark}, said=place / "said"
        )

    monkeypatch.setattr(kills, "TOGETHER", 1)  # Kills before each continuation.
    monkeypatch.setattr(kills, "LATEST", 0.5)  # Of its time: few end before they are killed.
    jobs = kills.make_jobs(tmp_path, ("render-webdataset", "pretrain"))
    assert list(kills.campaign(jobs, 2, 0, tmp_path, start)) == []
    assert "2/2 kills" in capsys.readouterr().out
