"""Names that recipes, paths, effects and backgrounds are chosen by. Importable without NumPy."""

from typing import Literal

BaselineName = Literal[
    "static-circles",
    "moving-circles",
    "moving-shapes",
    "transforming-shapes",
    "accelerating-shapes",
    "accelerating-textures",
    "accelerating-crops",
    "pseudo-motion",
]
"""Motion of other papers: arXiv 2410.24213, 2409.06665."""
RecipeName = Literal["paper", "official", BaselineName]
PathName = Literal["gaussian", "linear", "bezier", "brownian", "harmonic", "bounce", "excursion"]
TransformName = Literal["both", "rotation", "scaling", "none"]
EffectName = Literal["motion-blur", "drop-shadow", "colour-drift", "depth-swaps", "appearance"]
BackgroundKind = Literal["natural", "frame", "places", "black", "noise", "pseudo-motion"]
NoiseKind = Literal["uniform", "gaussian", "spectral"]
