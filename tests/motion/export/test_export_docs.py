"""Every command and snippet of docs/exports.md runs, in order."""

import re
import shlex
from pathlib import Path

import pytest
import smile_motion
from smile_motion.bank import ObjectBank
from support.render_command import render

PAGE = Path(__file__).parents[3] / "docs/exports.md"


@pytest.mark.slow
def test_the_page_runs(
    small_bank: ObjectBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(smile_motion, "embedded_bank", lambda: small_bank, raising=False)
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(blocks) > 12
    forms = set()
    for language, text in blocks:
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), {})
            continue
        for line in text.splitlines():
            words = shlex.split(line)
            assert words[:2] == ["smile-motion", "render"]
            words += ["--bank", str(small_bank.path), "--workers", "0", "--size", "96"]
            assert render(*words[2:]) == 0, capsys.readouterr().err
            forms |= set(words) & {"--lossless", *_FORMS}
    assert forms == {"--lossless", *_FORMS}


_FORMS = (
    "frames", "webdataset", "datasets", "coco", "youtube-vis", "flo", "kitti-flow", "tapvid",
    "tapvid-kubric",
)  # fmt: skip
