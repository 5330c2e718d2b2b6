"""Encoders and classifiers as ONNX files."""

from __future__ import annotations

from pathlib import Path

import torch
from smile_motion.errors import InputError
from smile_motion.io.files import replacing
from smile_motion.runtime.extras import require_extra
from torch import nn

from smile_train.models.heads import Classifier
from smile_train.models.mae import Encoder

TOLERANCE = 1e-4
"""Largest difference between outputs of ONNX Runtime and torch for which a file is kept."""
CHECKED = 3
"""Clips that a file is checked on: not the number that it is traced with."""


class _Tokens(nn.Module):
    """An encoder with both of its outputs."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, video: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.encoder(video)
        return tokens, tokens.mean(1)


def export_onnx(model: Encoder | Classifier, out: Path) -> float:
    """Write an ONNX file, checked against torch with ONNX Runtime before it takes its name.

    Args:
        model: Its input `video` is (B, T, H, W, 3) uint8 of any B, which it standardizes itself;
            its outputs are `tokens` (B, N, width) and `pooled` (B, width), or a classifier's
            `scores`.

    Returns:
        The largest difference that was found.

    Raises:
        InputError: `out` is taken, ONNX is not installed, or the difference is too large.
    """
    if out.exists():
        raise InputError(f"{out}: exists; choose another --out")
    # What torch writes ONNX with, and what runs it.
    needs = ("onnx", "onnxscript", "onnxruntime")
    require_extra("ONNX", *needs, extra="onnx", distribution="smile-train")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    grid = model.grid
    traced = (model if isinstance(model, Classifier) else _Tokens(model)).eval().cpu()
    names = ["scores"] if isinstance(model, Classifier) else ["tokens", "pooled"]
    shape = (grid.frames, grid.height, grid.width, 3)
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (CHECKED, *shape), dtype=torch.uint8, generator=generator)
    with replacing(out) as temporary:
        torch.onnx.export(
            traced,
            (video[:2],),
            temporary,
            input_names=["video"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
        worst = _difference(traced, temporary, video)
        if worst > TOLERANCE:
            raise InputError(
                f"{out}: ONNX Runtime's outputs differ by {worst:.1e}, more than {TOLERANCE}; "
                f"another release of torch or onnxruntime may agree"
            )
    return worst


def _difference(model: nn.Module, path: Path, video: torch.Tensor) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {"video": video.numpy()})
    with torch.no_grad():
        expected = model(video)
    expected = expected if isinstance(expected, tuple) else (expected,)
    return max(
        float((torch.from_numpy(a) - b).abs().max()) for a, b in zip(found, expected, strict=True)
    )
