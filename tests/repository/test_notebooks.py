"""The notebooks run, and are stored without what they print."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SMALLER = {
    "samples=256, epochs=4, warmup_epochs=1": "samples=32, epochs=2, warmup_epochs=1",
    "samples=64, epochs=4, warmup_epochs=1": "samples=32, epochs=2, warmup_epochs=1",
    "--minutes 2.5": "--steps 4 --samples 8 --batch 2 --track none --workers 0",
    **{"range(240)": "range(60)", "[:160]": "[:40]", "[160:]": "[40:]", "160 +": "40 +"},
}
"""Fewer clips than a reader waits for."""


def test_all_are_there() -> None:
    names = {path.stem for path in NOTEBOOKS}
    assert names == {
        *("main_job", "trajectories", "object_bank", "masks", "train_tiny", "feature_similarity")
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "clear its outputs"
    for cell in code:
        for written, smaller in SMALLER.items():
            cell.source = cell.source.replace(written, smaller)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    client = NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    pictures = sum(
        any(kind.startswith("image/") for kind in output.get("data", {}))
        for cell in code
        for output in cell.outputs
    )
    assert pictures >= 2
    if keep := os.environ.get("SMILE_NOTEBOOKS"):  # to look at
        nbformat.write(notebook, Path(keep) / path.name)
