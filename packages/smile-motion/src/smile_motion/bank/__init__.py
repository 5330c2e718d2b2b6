"""Object banks: folders of cut-out RGBA objects with a card, hashes and packed pixels."""

from smile_motion.bank.builder.build import build
from smile_motion.bank.builder.default import banks_folder, embedded_bank
from smile_motion.bank.builder.folder import FolderSource
from smile_motion.bank.builder.procedural import ProceduralSource
from smile_motion.bank.builder.shapes import ShapeSource
from smile_motion.bank.integrity import verify
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.subset import draw_from
from smile_motion.bank.union import open_bank

__all__ = [
    "FolderSource",
    "ObjectBank",
    "ProceduralSource",
    "ShapeSource",
    "banks_folder",
    "build",
    "draw_from",
    "embedded_bank",
    "open_bank",
    "verify",
]
