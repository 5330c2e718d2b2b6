"""The promises of the workspace itself."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def test_constraints_are_what_is_installed() -> None:
    """uv's pins, the file for plain pip and what is installed agree."""
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["constraint-dependencies"] == pins, "run .ci/renew-pins"
    differing = {}
    for line in pins:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = "missing"
        if found not in requirement.specifier:
            differing[requirement.name] = (str(requirement.specifier), found)
    assert not differing, "run `uv sync --all-packages`, or .ci/renew-pins after changing needs"


def test_the_two_packages_depend_in_one_direction() -> None:
    motion = ROOT / "packages/smile-motion/src"
    assert not [path for path in motion.rglob("*.py") if "smile_train" in path.read_text()]


def test_the_core_of_smile_motion_runs_without_torch() -> None:
    code = (
        "import sys\n"
        "from smile_motion import ClipMaker, MotionRecipe, make_background\n"
        "from smile_motion.bank import ProceduralSource\n"
        "ProceduralSource(count=1).make(0)\n"
        "assert not {'torch', 'diffusers', 'open_clip', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
