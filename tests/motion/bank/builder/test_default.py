"""Banks that are made on first use: where they lie, and who makes them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock
from smile_motion.bank import ObjectBank, ProceduralSource, build, embedded_bank, verify
from smile_motion.bank.builder.default import FOLDER_VARIABLE
from smile_motion.bank.builder.procedural import VERSION
from smile_motion.clips.presets import recipe_bank
from smile_motion.io.folders import CACHE_VARIABLE, writable_cache
from support import forked

NAME = f"embedded-{VERSION}-8"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and an empty project, for banks of 8 objects."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr("smile_motion.bank.builder.default.OBJECTS", 8)
    writable_cache.cache_clear()
    return tmp_path / "cache"


def started(objects: int) -> forked.ForkedProgram:
    support = Path(forked.__file__).parent
    return forked.start("first_use", [objects], cwd=support)


def test_all_projects_share_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = embedded_bank()
    assert bank.path == cache / "banks" / NAME
    assert len(bank) == 8
    assert not any(Path().iterdir()), "nothing is left in the project"
    stamp = (bank.path / "bank.json").stat().st_mtime_ns
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert embedded_bank().path == bank.path
    assert (bank.path / "bank.json").stat().st_mtime_ns == stamp
    assert not [fault for _, fault in verify(bank.path) if fault]


def test_a_projects_own_wins_and_the_variable_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path("object_banks/embedded")
    build(ProceduralSource(count=2), own, workers=0)
    assert embedded_bank().path == own
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "named"))
    assert embedded_bank().path == tmp_path / "named" / "embedded"
    assert recipe_bank("moving-circles", count=3).path == tmp_path / "named" / "circles-3"


def test_photographs_of_the_same_name_are_not_confused(
    tmp_path: Path, photographs: Path, cache: Path
) -> None:
    first, second = sorted(photographs.glob("*.jpg"))[:2]
    paths = []
    for project, photograph in (("one", first), ("two", second)):
        images = tmp_path / project / "images"
        images.mkdir(parents=True)
        (images / "0.jpg").write_bytes(photograph.read_bytes())
        paths.append(recipe_bank("accelerating-crops", images=images, count=2).path)
    assert paths[0] != paths[1]
    assert {path.parent for path in paths} == {cache / "banks"}


def test_of_several_processes_one_makes_it(cache: Path) -> None:
    processes = [started(24) for _ in range(3)]
    said = [process.communicate(timeout=120) for process in processes]
    assert all(process.returncode == 0 for process in processes), said
    assert {out for out, _ in said} == {f"{cache / 'banks' / f'embedded-{VERSION}-24'}\n"}
    assert sum("making a bank of 24" in error for _, error in said) == 1


def test_a_killed_one_is_continued_and_others_are_swept(cache: Path) -> None:
    banks = cache / "banks"
    killed = started(3000)
    path = banks / f"embedded-{VERSION}-3000"
    journal = path / "build.jsonl"
    killed.wait_for(lambda: journal.is_file() and journal.stat().st_size)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (banks / "embedded-0-5").mkdir()
    for name in ("busy", "finished"):
        (banks / name).mkdir()
    (banks / "finished" / "bank.json").write_text("{}")
    with FileLock(banks / ".busy.lock"):
        embedded_bank()
    kept = {entry.name for entry in banks.iterdir() if entry.is_dir()}
    assert kept == {NAME, "busy", "finished"}

    straight = build(ProceduralSource(count=8), cache / "straight", workers=0).path
    for name in ("metadata.jsonl", "packed/pixels.bin"):
        assert (straight / name).read_bytes() == (banks / NAME / name).read_bytes()


def test_a_stopped_one_goes_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, made = ProceduralSource.make, []

    def stops(source: ProceduralSource, number: int) -> object:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(number)
        return make(source, number)

    monkeypatch.setattr(ProceduralSource, "make", stops)
    with pytest.raises(KeyboardInterrupt):
        embedded_bank()
    monkeypatch.setattr(
        ProceduralSource, "make", lambda *given: made.append(given[1]) or make(*given)
    )
    assert len(embedded_bank()) == 8
    assert made == list(range(8))
    assert not [fault for _, fault in verify(cache / "banks" / NAME) if fault]


def test_without_a_writable_cache_a_temporary_folder_is_used_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    for value in (str(tmp_path / "file" / "cache"), ""):  # no folder; no home
        monkeypatch.setenv(CACHE_VARIABLE, value)
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        writable_cache.cache_clear()
        bank = embedded_bank()
        assert bank.path.parents[1] == tmp_path / "tmp" / f"smile-motion-{os.getuid()}"
        if value:
            (line, _) = caplog.messages
            assert "file/cache cannot be used (Not a directory)" in line
            assert str(bank.path.parents[1]) in line
        else:
            assert not caplog.messages, "it was there already"
        caplog.clear()


def nameless() -> list[str]:
    """Python as a user that the machine has no name for.

    It may read the code where that lies in somebody's private folder, and write nothing more.
    """
    user = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    reads = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    for capabilities in (reads, ()):  # Docker's root has not that one to give.
        python = [*user, *capabilities, sys.executable]
        if (
            subprocess.run([*python, "-c", "import smile_motion"], capture_output=True).returncode
            == 0
        ):
            return python
    pytest.skip("root has no capability to give, and others cannot read this folder")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_number_without_a_name_has_no_home_and_needs_none(small_bank: ObjectBank) -> None:
    """As in containers that are run with `--user 54321`."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o777)
        bank = shutil.copytree(small_bank.path, place / "bank")
        code = (
            "import sys; from pathlib import Path; from smile_motion.__main__ import main; "
            "from smile_motion.io.output_folders import require_output; "
            "from smile_motion.io.folders import writable_cache; "
            f"require_output(Path({str(place / 'out')!r})); print(writable_cache(), flush=True); "
            f"sys.argv = ['smile-motion', 'bank', 'info', {str(bank)!r}]; sys.exit(main())"
        )
        ended = subprocess.run(
            [*nameless(), "-c", code],
            env={"PATH": os.environ["PATH"], "TMPDIR": folder}, cwd=folder,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0] == f"{folder}/smile-motion-54321"
    assert "star-spots" in ended.stdout


def test_a_folder_that_others_can_write_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    planted = tmp_path / f"smile-motion-{os.getuid()}"
    build(ProceduralSource(count=2), planted / "banks" / NAME, workers=0)
    planted.chmod(0o777)
    bank = embedded_bank()
    assert len(bank) == 8
    assert bank.path.parents[1] != planted
