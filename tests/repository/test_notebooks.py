"""The notebooks run, and are stored without what they print."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SMALLER = {
    **{
        '"samples": 256': '"samples": 16',
        '"samples": 64': '"samples": 16',
        '"log_every": 4': '"log_every": 1',
    },
    **{'"epochs": 4': '"epochs": 1', '"warmup_epochs": 1': '"warmup_epochs": 0'},
    "--minutes 2": "--steps 4 --samples 8 --batch 2 --track none --workers 0",
    **{"range(240)": "range(9)", "[:160]": "[:6]", "[160:]": "[6:]", "160 +": "6 +"},
    **{"count=120": "count=30", "range(200)": "range(20)"},
}
"""Fewer clips than a reader waits for."""


def test_all_are_there() -> None:
    names = {path.stem for path in NOTEBOOKS}
    assert names == {
        *("main_job", "trajectories", "object_bank", "masks", "train_tiny", "feature_similarity")
    }


@pytest.mark.slow
def test_notebooks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one process, where each finds nothing of those before it but their imports."""
    notebooks = [nbformat.read(path, as_version=4) for path in NOTEBOOKS]
    together = nbformat.v4.new_notebook()
    for path, notebook in zip(NOTEBOOKS, notebooks, strict=True):
        place = tmp_path / path.stem
        place.mkdir()
        begin = ("%reset_selective -f .", f"%cd -q {place}", "import tempfile")
        begin += (f"tempfile.tempdir = {str(place)!r}",)
        together.cells.append(nbformat.v4.new_code_cell("\n".join(begin)))
        for cell in code_of(notebook):
            cleared = not cell.outputs and cell.execution_count is None
            assert cleared, f"{path}: clear its outputs"
            for written, smaller in SMALLER.items():
                cell.source = cell.source.replace(written, smaller)
            together.cells.append(cell)
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    NotebookClient(together, timeout=1800).execute()
    for path, notebook in zip(NOTEBOOKS, notebooks, strict=True):
        outputs = [output for cell in code_of(notebook) for output in cell.outputs]
        pictures = [
            output
            for output in outputs
            if any(kind.startswith("image/") for kind in output.get("data", {}))
        ]
        assert len(pictures) >= 2, path
        if keep := os.environ.get("SMILE_NOTEBOOKS"):  # to look at
            nbformat.write(notebook, Path(keep) / path.name)


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
