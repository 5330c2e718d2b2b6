"""Where results may go: not over what they are made from, nor among files of something else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from smile_motion.errors import InputError

Kind = Literal["an object bank", "rendered clips", "a training run"]
"""What fills a folder of its own."""
_SIGNS: dict[Kind, tuple[str, ...]] = {
    "an object bank": ("bank.json", "build.json"),
    "rendered clips": ("render.json",),
    "a training run": ("checkpoints", "stage-1"),
}
"""One of these is in a folder of that kind."""
_CHECKPOINT = ("manifest.json", "model.safetensors")
"""Both are in a checkpoint's folder."""


def _home() -> Path | None:
    """The user's home; None where there is none, as for numbers without a name in containers."""
    try:
        return Path.home().resolve()
    except RuntimeError:
        return None


def require_output(
    out: Path, *, inputs: Iterable[str | Path] = (), makes: Kind | None = None
) -> None:
    """Refuse a file or folder to write to before anything is touched.

    inputs  files and folders that are read; names that are no paths do no harm.
    makes   what fills the folder, where something does: a folder of another kind is refused.
    Raises InputError when it is an input, holds a file that is an input, lies in an object bank or
    in a checkpoint, or is a folder that everything else lies in: `/`, the home, a repository.
    """
    place = out.resolve()
    general = {
        "the root of all files": place == Path(place.anchor),
        "the home folder": place == _home(),
        "the folder of a repository": (place / ".git").exists(),
    }
    for what, is_that in general.items():
        if is_that:
            raise InputError(f"{out}: is {what}; give --out a folder in it, such as {out / 'out'}")
    for given in inputs:
        source = Path(given).resolve()
        if not source.exists():
            continue
        if source == place or (place.exists() and source.samefile(place)):
            raise InputError(f"{out}: is what is read; choose another --out")
        if source.is_file() and place in (source.parent, Path(given).parent.resolve()):
            raise InputError(
                f"{out}: holds {Path(given).name}, which is read; choose another --out"
            )
    for kind, signs in _SIGNS.items():
        if kind != makes and (makes or kind != "a training run") and _holds(place, signs):
            raise InputError(f"{out}: holds {kind}; choose another --out")
    for folder in place.parents:
        if _holds(folder, _SIGNS["an object bank"]):
            raise InputError(f"{out}: lies within the object bank {folder}; choose another --out")
    for folder in (place, *place.parents):
        if all((folder / name).is_file() for name in _CHECKPOINT):
            raise InputError(f"{out}: lies within the checkpoint {folder}; choose another --out")


def paths_among(options: Any, *, besides: str = "out") -> Iterator[Path]:
    """All paths in a command's options, those in groups of options too."""
    for entry in fields(options):
        if entry.name == besides:
            continue
        value = getattr(options, entry.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path):
                yield one
            elif isinstance(one, str) and one and entry.name.startswith("checkpoint"):
                yield Path(one)
            elif is_dataclass(one):
                yield from paths_among(one, besides=besides)


def _holds(folder: Path, signs: Iterable[str]) -> bool:
    return any((folder / name).exists() for name in signs)
