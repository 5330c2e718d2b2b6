"""Sources of candidates' images: a diffusion model, photographs, or the candidates of a bank."""

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
"""Entry of the card on safety, by `Diffusion.safety_checker`."""


@dataclass(frozen=True, eq=False)
class GeneratedImage:
    """Image of a candidate."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB, or (H, W, 4) RGBA."""
    prompt: str
    """Prompt; the name of the file for an existing image."""
    seed: int | None
    """Seed of the image."""
    unsafe: bool | None
    """Whether the safety checker marked it; None where none ran."""


class ImageSource(Protocol):
    """Interface of the sources of candidates' images."""

    @property
    def stage(self) -> str:
        """Name of this stage in progress messages."""
        ...

    def make(self, attempts: Sequence[Attempt]) -> list[GeneratedImage]:
        """Make the images of a batch; the same batch always gives the same images."""
        ...

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card that describe the source."""
        ...

    def interrupt(self) -> None:
        """End a batch in another thread early; its images will not be used."""
        ...


def prompt_for(category: Category, template: str) -> str:
    """Fill a prompt's `{name}` and `{definition}`.

    `{definition}` is left out, with the comma before it, where the category has none.
    """
    definition = (category.definition or "").rstrip(" .;")
    if not definition:
        template = re.sub(r"[,;:]?\s*\{definition\}", "", template)
    return template.replace("{definition}", definition).replace(
        "{name}", category.name.replace("_", " ")
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class DiffusionSource:
    """Generates images from prompts with a diffusion model."""

    diffusion: Diffusion
    """The model."""
    prompt: str
    """Template with `{name}` and optionally `{definition}`."""
    seed: int
    """Seed of the bank."""
    stage: str = "diffusion"
    """Name of this stage in progress messages."""

    def make(self, attempts: Sequence[Attempt]) -> list[GeneratedImage]:
        """Generate one image per attempt, in one batch."""
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
        """Entries of the model, the prompt and the seeds."""
        return {
            "diffusion": self.diffusion.card(),
            "safety": SAFETY[self.diffusion.safety_checker],
            "prompt": self.prompt,
            "seed": self.seed,
            "seeds": "first 63 bits of the SHA-256 of `seed/category/attempt`",
        }

    def interrupt(self) -> None:
        """Skip the remaining denoising steps."""
        self.diffusion.pipeline._interrupt = True


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotographSource:
    """Reads photographs from folders named by category."""

    root: Path
    """Folder that contains the folders."""
    files: Mapping[str, tuple[str, ...]]
    """Files by `Category.folder`, relative to `root`, in the order of attempts."""
    largest_px: int
    """Longest side of a photograph, pixels; larger ones are reduced."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of images that are not used, by reason."""
    stage: str = "reading"
    """Name of this stage in progress messages."""

    @classmethod
    def open(
        cls, root: Path, *, seed: int, largest_px: int
    ) -> tuple[PhotographSource, tuple[Category, ...]]:
        """Find the photographs below a folder.

        Args:
            root: Folder that contains a folder of photographs per category.
            seed: Seed of the order in which the photographs of a category are used.
            largest_px: Longest side of a photograph, pixels; larger ones are reduced.

        Returns:
            The source, and the categories that the folders name.

        Raises:
            InputError: There are no photographs, or two folders name the same category.
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
        """Entries of the files and their order."""
        listed = dump_lines({"file": name} for names in self.files.values() for name in names)
        return {
            "folder": self.root.resolve().name,
            "files": sum(map(len, self.files.values())),
            "files_sha256": sha256(listed),
            "largest_px": self.largest_px,
            **({"left_out": self.left_out} if self.left_out else {}),
        }

    def interrupt(self) -> None:
        """Do nothing: reading a batch is fast."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredSource:
    """Reads the stored candidates of another bank, to segment and score them again."""

    bank: Path
    """The other bank."""
    records: Mapping[tuple[str, int], Mapping[str, Any]]
    """Records of its candidates, by category and attempt."""
    stage: str = "reading"
    """Name of this stage in progress messages."""

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
        """No entries: the card names the other bank already."""
        return {}

    def interrupt(self) -> None:
        """Do nothing: reading a batch is fast."""


def _read_bounded(path: Path, largest_px: int) -> np.ndarray:
    with open_image(path, largest_px=LARGEST_IMAGE_PX) as opened:
        image = decode_rgba(opened) if opened.has_transparency_data else decode_rgb(opened)
    return shrink(image, largest_px)
