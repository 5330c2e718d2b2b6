"""Where candidates' images come from: a diffusion model, photographs, or a bank's own store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from smile_motion.bank.candidates.diffusion import Diffusion
from smile_motion.bank.candidates.schedule import image_seed
from smile_motion.bank.candidates.store import image_name, read_candidate_image
from smile_motion.bank.candidates.types import Attempt, Category
from smile_motion.bank.format import shrink
from smile_motion.errors import InputError
from smile_motion.io.files import dump_lines, sha256
from smile_motion.io.folders import find_files, find_folders
from smile_motion.io.images import (
    IMAGE_SUFFIXES,
    LARGEST_IMAGE_PX,
    UNREAD_SUFFIXES,
    count_types,
    decode_rgb,
    decode_rgba,
    open_image,
)
from smile_motion.seeding import Stream, keyed_generator

SAFETY = {
    True: "the model's safety checker ran; images that it marked were refused",
    False: "the model's safety checker was switched off; look through the images before sharing",
    None: "the model has no safety checker; look through the images before sharing",
}
"""What the card says of safety."""


@dataclass(frozen=True, eq=False)
class GeneratedImage:
    """An image that a candidate begins as."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB, or (H, W, 4) RGBA."""
    prompt: str
    """What it was made from; the file's name for one that was there."""
    seed: int | None
    """Its seed."""
    unsafe: bool | None
    """What the safety checker said; None where none ran."""


class ImageSource(Protocol):
    """Makes the images of candidates."""

    @property
    def stage(self) -> str:
        """What progress calls it."""
        ...

    def make(self, attempts: Sequence[Attempt]) -> list[GeneratedImage]:
        """Make the images of one batch; the same batch always gives the same images."""
        ...

    def card(self) -> dict[str, Any]:
        """What the bank's card says of it."""
        ...

    def interrupt(self) -> None:
        """Hurry a batch in another thread to its end; its images will not be used."""
        ...


def prompt_for(category: Category, template: str) -> str:
    """Fill a prompt: `{name}`, and `{definition}`, which is left out with the comma before it
    where the category has none."""
    definition = (category.definition or "").rstrip(" .;")
    if not definition:
        template = re.sub(r"[,;:]?\s*\{definition\}", "", template)
    return template.replace("{definition}", definition).replace(
        "{name}", category.name.replace("_", " ")
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class DiffusionSource:
    """Makes images from prompts."""

    diffusion: Diffusion
    """The model."""
    prompt: str
    """With `{name}` and perhaps `{definition}`."""
    seed: int
    """Seed of the bank."""
    stage: str = "diffusion"
    """What progress calls it."""

    def make(self, attempts: Sequence[Attempt]) -> list[GeneratedImage]:
        """Make one image per attempt, all in one batch."""
        prompts = [prompt_for(attempt.category, self.prompt) for attempt in attempts]
        seeds = [image_seed(self.seed, a.category.folder, a.number) for a in attempts]
        made = self.diffusion.generate(prompts, seeds)
        return [
            GeneratedImage(image, prompt, seed, unsafe)
            for image, prompt, seed, unsafe in zip(
                made.images, prompts, seeds, made.unsafe, strict=True
            )
        ]

    def card(self) -> dict[str, Any]:
        """The model's card, the prompt, and how seeds are made."""
        return {
            "diffusion": self.diffusion.card(),
            "safety": SAFETY[self.diffusion.safety_checker],
            "prompt": self.prompt,
            "seed": self.seed,
            "seeds": "first 63 bits of the SHA-256 of `seed/category/attempt`",
        }

    def interrupt(self) -> None:
        """Skip the denoising steps that are left."""
        self.diffusion.pipeline._interrupt = True


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotographSource:
    """Takes photographs in folders named by category."""

    root: Path
    """Folder of the folders."""
    files: Mapping[str, tuple[str, ...]]
    """Files by `Category.folder`, relative to `root`, in the order of attempts."""
    largest_px: int
    """Photographs with a longer side are made smaller."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Images below the root that are not used, counted by reason."""
    stage: str = "reading"
    """What progress calls it."""

    @classmethod
    def open(
        cls, root: Path, *, seed: int, largest_px: int
    ) -> tuple[PhotographSource, tuple[Category, ...]]:
        """Find the photographs, and the categories by their folders' names.

        Raises:
            InputError: There are none, or two folders name the same category.
        """
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; give the folder of photographs with --from")
        found: dict[str, tuple[Category, list[str]]] = {}
        loose = len(find_files(root, IMAGE_SUFFIXES, nested=False))
        left_out = {"in no folder named by category": loose} if loose else {}
        for folder in find_folders(root):
            found_here = find_files(folder, (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES))
            for what, number in count_types(
                path for path in found_here if path.suffix.lower() in UNREAD_SUFFIXES
            ).items():
                left_out[what] = left_out.get(what, 0) + number
            names = sorted(
                path.relative_to(root).as_posix()
                for path in found_here
                if path.suffix.lower() in IMAGE_SUFFIXES
            )
            category = Category(folder.name.replace("_", " "))
            if names and category.folder in found:
                raise InputError(
                    f"{folder}: names the same category as another folder; rename or join them"
                )
            if names:
                found[category.folder] = category, names
        if not found:
            raise InputError(
                f"{root}: no folder with photographs ({', '.join(IMAGE_SUFFIXES)}) in it; "
                f"put them into folders named by category"
            )
        files = {}
        for folder, (_, names) in found.items():
            key = image_seed(seed, folder, 0)
            order = keyed_generator(key, Stream.OBJECT).permutation(len(names))
            files[folder] = tuple(names[place] for place in order)
        source = cls(root=root, files=files, largest_px=largest_px, left_out=left_out)
        return source, tuple(category for category, _ in found.values())

    def make(self, attempts: Sequence[Attempt]) -> list[GeneratedImage]:
        """Read the photographs of a batch."""
        names = [self.files[attempt.category.folder][attempt.number] for attempt in attempts]
        images = [_read_bounded(self.root / name, self.largest_px) for name in names]
        return [
            GeneratedImage(image, name, None, None)
            for image, name in zip(images, names, strict=True)
        ]

    def card(self) -> dict[str, Any]:
        """Which files, in which order."""
        listed = dump_lines({"file": name} for names in self.files.values() for name in names)
        return {
            "folder": self.root.resolve().name,
            "files": sum(map(len, self.files.values())),
            "files_sha256": sha256(listed),
            "largest_px": self.largest_px,
            **({"left_out": self.left_out} if self.left_out else {}),
        }

    def interrupt(self) -> None:
        """Reading a batch takes no time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredSource:
    """Takes the candidates that another bank stored, to be segmented and scored anew."""

    bank: Path
    """The other bank."""
    records: Mapping[tuple[str, int], Mapping[str, Any]]
    """Its candidates' records by category and attempt."""
    stage: str = "reading"
    """What progress calls it."""

    def make(self, attempts: Sequence[Attempt]) -> list[GeneratedImage]:
        """Read the images of a batch."""
        made = []
        for attempt in attempts:
            key = attempt.category.folder, attempt.number
            image = read_candidate_image(self.bank / image_name(*key))
            record = self.records[key]
            made.append(GeneratedImage(image, record["prompt"], record["seed"], record["unsafe"]))
        return made

    def card(self) -> dict[str, Any]:
        """Nothing: the card names the other bank already."""
        return {}

    def interrupt(self) -> None:
        """Reading a batch takes no time."""


def _read_bounded(path: Path, largest_px: int) -> np.ndarray:
    with open_image(path, largest_px=LARGEST_IMAGE_PX) as opened:
        image = decode_rgba(opened) if opened.has_transparency_data else decode_rgb(opened)
    return shrink(image, largest_px)
