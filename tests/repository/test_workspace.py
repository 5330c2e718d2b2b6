"""The promises of the workspace itself."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def project(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]


def test_the_packages_are_published_together() -> None:
    motion, train = project("packages/smile-motion"), project("packages/smile-train")
    assert f"smile-motion=={motion['version']}" in train["dependencies"]
    assert motion["version"] == train["version"] == project(".")["version"]
    for folder in ("packages/smile-motion", "packages/smile-train"):
        assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    bounds = [
        {Requirement(line).name: Requirement(line).specifier for line in package["dependencies"]}
        for package in (motion, train)
    ]
    for name in bounds[0].keys() & bounds[1].keys():
        assert bounds[0][name] == bounds[1][name], f"{name}: different bounds in the two packages"


def test_a_clone_has_the_extras_of_the_packages() -> None:
    """What messages advise: `uv run --extra NAME`."""
    expected = {
        extra: [f"{name}[{extra}]"] if brought else []
        for name in ("smile-motion", "smile-train")
        for extra, brought in project(f"packages/{name}")["optional-dependencies"].items()
        if extra != "torch"  # a clone has it, smile-train needs it
    }
    assert project(".")["optional-dependencies"] == expected
    asked = {
        extra
        for path in (ROOT / "packages").rglob("*.py")
        for extra in re.findall(r'\bextra="(\w+)"', path.read_text())
    }
    assert asked == {extra for extra, brought in expected.items() if brought}


PUBLIC = {
    "smile_motion": "Clip ClipMaker DeviceRenderer InputError MotionOverlay MotionPlan "
    "MotionRecipe ObjectBank TokenGrid Truth draw_from embedded_bank make_background open_bank "
    "plan_from_json plan_to_json read_clip read_plan render",
    "smile_train": "VideoEncoder load",
}
"""What other programs may import; names are added with care, and removed with more."""


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_interface_is_frozen_and_shown(package: str) -> None:
    module = import_module(package)
    names = PUBLIC[package].split()
    assert sorted(module.__all__) == sorted(names)
    assert set(dir(module)) == {*names, "__version__"}
    for name in dir(module):
        assert getattr(module, name) is not None
    star: dict[str, object] = {}
    exec(f"from {package} import *", star)
    assert set(names) <= set(star)


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


def test_private_modules_stay_in_their_packages_and_files_are_short() -> None:
    for path in (ROOT / "packages").rglob("src/**/*.py"):
        text = path.read_text()
        assert text.count("\n") <= 400, path
        package = ".".join(path.parent.parts[path.parts.index("src") + 1 :])
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and re.search(r"\._\w+$", node.module or ""):
                assert (node.module or "").rpartition(".")[0] == package, f"{path}:{node.lineno}"
