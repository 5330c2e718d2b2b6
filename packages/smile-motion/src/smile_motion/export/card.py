"""Data set card (README.md) of a collection of clips: the hub's header, what is in it, how it was
made, and whose objects are seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smile_motion.bank.dataset_card import LIBRARY, README, credit_lines, hub_license
from smile_motion.io.files import write_atomically
from smile_motion.io.markup import Markdown

if TYPE_CHECKING:
    from smile_motion.clips.clip import ClipMaker

_HEADER = f"""{LIBRARY}
task_categories:
- object-detection
- video-classification
tags:
- smile-motion
- synthetic
- video-pretraining
---"""


def write_collection_card(
    folder: Path, maker: ClipMaker, *, count: int, contents: str, header: str = ""
) -> str:
    """Write the card of a collection.

    Args:
        folder: Folder of the collection.
        maker: Maker of its clips.
        count: Number of clips.
        contents: What its files hold, Markdown.
        header: Further YAML lines of the hub's header.

    Returns:
        Name of the file.
    """
    card = maker.bank.card
    licence = hub_license(card.get("licence"))
    named = f"license: {licence}\n" + ("license_name: see-below\n" if licence == "other" else "")
    name = " + ".join(path.resolve().name for path in maker.bank.folders)
    text = Markdown("\n\n").join(
        [
            Markdown("# {} clips of moving objects").format(count),
            Markdown(
                "Each has {} frames of {} x {} pixels: {} objects on random smooth trajectories, "
                "with their ground truth. Made with SMILE Motion; `render.json` has the settings, "
                "and `index.jsonl` the hash of every file."
            ).format(maker.frames, *maker.size, maker.recipe.objects),
            Markdown(contents),
            _made(maker, name),
            Markdown("## License\n\n")
            + Markdown("\n").join(
                [
                    *credit_lines(card, name),
                    Markdown("* What lies behind the objects: that of its files, if any."),
                ]
            ),
        ]
    )
    write_atomically(folder / README, f"---\n{named}{header}{_HEADER}\n\n{text}\n".encode())
    return README


def _made(maker: ClipMaker, name: str) -> Markdown:
    bank, path = maker.bank, maker.recipe.path
    rows = {
        "objects from": f"{name}: {len(bank)} objects in {len(bank.categories)} categories",
        **({} if bank.draws is None else bank.draws.chosen),
        "bank_sha256": bank.card["metadata_sha256"],
        "path": type(path).__name__,
        "background": type(maker.background).__name__,
        "seed": maker.seed,
    }
    lines = [Markdown("| {} | {} |").format(key, value) for key, value in rows.items()]
    return Markdown("\n").join([Markdown("## How they were made\n\n| | |\n|---|---|"), *lines])
