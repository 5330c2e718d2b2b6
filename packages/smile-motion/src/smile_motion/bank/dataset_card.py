"""Data set card (README.md) of a bank: the hub's header, then the facts of the bank's card."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smile_motion.bank.format import CARD, IMAGES, METADATA
from smile_motion.bank.statistics import pose_counts, score_summary, segmenter_counts
from smile_motion.bank.union import ORIGINS
from smile_motion.io.files import write_atomically
from smile_motion.io.markup import Markdown

README = "README.md"
CARD_SHEET = ".card/sheet.png"
"""Contact sheet; in a hidden folder, because `datasets` would take it for an object elsewhere."""
_CC = "https://creativecommons.org"
_LICENCES = {
    "cc0-1.0": f"{_CC}/publicdomain/zero/1.0/",
    "cc-by-4.0": f"{_CC}/licenses/by/4.0/",
    "cc-by-sa-4.0": f"{_CC}/licenses/by-sa/4.0/",
    "cc-by-nc-4.0": f"{_CC}/licenses/by-nc/4.0/",
    "cc-by-nc-sa-4.0": f"{_CC}/licenses/by-nc-sa/4.0/",
    "mit": "https://opensource.org/license/mit",
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "creativeml-openrail-m": "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    "openrail++": "",
    "openrail": "",
}
"""The hub's license identifiers and where their texts are; a bank's license is the one that its
text begins with."""
LIBRARY = "library_name: smile-motion"
"""Line of the hub's header: what reads a folder of ours."""
_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_NAMES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")
_NOT_FACTS = (
    "licence", "attribution", "safety", "format", "metadata_sha256", "candidates_sha256",
    "fell_short", "timings",
)  # fmt: skip
"""Entries of a bank's card that are not listed under `How it was made`."""


def write_dataset_card(
    path: Path, card: Mapping[str, Any], records: Sequence[Mapping[str, Any]], *, name: str
) -> None:
    """Write the data set card of a bank.

    Args:
        path: File to write; a contact sheet at `CARD_SHEET` beside it is shown.
        card: Card of the bank.
        records: Metadata records of the bank.
        name: Title.
    """
    parts = [_summary(card, records)]
    if (path.parent / CARD_SHEET).is_file():
        parts.append(Markdown(f"![objects by category]({CARD_SHEET})"))
    parts += [_use(), _facts(card), _contents(records), _license(card, name)]
    title = Markdown("# {}").format(name)
    text = Markdown("\n\n").join([title, *parts])
    write_atomically(path, f"{_header(card, len(records), name)}\n\n{text}\n".encode())


def hub_license(licence: str | None) -> str:
    """The hub's identifier of a license given as text; `other` where it has none."""
    said = re.sub(
        r"\bcreativeml open ?rail[- ]m\b", "creativeml-openrail-m", (licence or "").lower()
    )
    return next(
        (one for one in _LICENCES if re.match(re.escape(one) + r"(?![\w.+-])", said)), "other"
    )


def license_url(licence: str | None) -> str:
    """Where the text of a license is; empty where it is none that the hub knows."""
    return _LICENCES.get(hub_license(licence), "")


def _header(card: Mapping[str, Any], count: int, name: str) -> str:
    place = sum(count >= size for size in _SIZES)
    licence = hub_license(card.get("licence"))
    lines = ["---", f"pretty_name: {json.dumps(name)}", f"license: {licence}"]
    if licence == "other":
        lines += ["license_name: see-below"]
    lines += [
        LIBRARY,
        "task_categories:",
        "- image-segmentation",
        "- image-classification",
        "tags:",
        "- object-bank",
        "- rgba",
        "- video-pretraining",
        *(["- synthetic"] if "folder" not in _sources(card) else []),
        "size_categories:",
        f"- {_NAMES[place]}",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        f"    path: [{METADATA}, {IMAGES}/**]",
        "---",
    ]
    return "\n".join(lines)


def _sources(card: Mapping[str, Any]) -> set[object]:
    """Sources of a bank, or of the banks that it unites."""
    parts = card.get(ORIGINS)
    if not isinstance(parts, list):
        return {card.get("source")}
    return {source for part in parts if isinstance(part, dict) for source in _sources(part)}


def _summary(card: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Markdown:
    categories = len({record["category"] for record in records})
    return Markdown(
        "{} cut-out objects in {} categories, straight-alpha RGBA, tightly "
        "cropped (source: {}). Made with SMILE Motion, whose "
        "clips move such objects over other pictures to teach video models."
    ).format(len(records), categories, card.get("source", "unknown"))


def _use() -> Markdown:
    return Markdown(f"""## Use

```python
from datasets import load_dataset
objects = load_dataset("imagefolder", data_dir="FOLDER", split="train")
objects = load_dataset("OWNER/NAME", split="train")     # the same, from the hub
objects[0]["image"], objects[0]["category"]             # an RGBA image, its label

from smile_motion.bank import ObjectBank
bank = ObjectBank.open("FOLDER")                        # packs the pixels once, then maps them
```

`smile-motion bank pull OWNER/NAME` downloads it and checks every hash. `{METADATA}` has a line per
object, `{CARD}` says how all of them were made.""")


def _facts(card: Mapping[str, Any]) -> Markdown:
    rows = [
        Markdown("| {} | {} |").format(key, value)
        for key, value in card.items()
        if key not in _NOT_FACTS and value is not None
    ]
    return Markdown("\n").join([Markdown("## How it was made\n\n| | |\n|---|---|"), *rows])


def _contents(records: Sequence[Mapping[str, Any]]) -> Markdown:
    counts = Counter(record["category"] for record in records)
    sizes = sorted(counts.values())
    middle = sizes[len(sizes) // 2]
    spread = f"{sizes[0]} to {sizes[-1]}, median {middle}" if sizes[0] < sizes[-1] else sizes[0]
    text = f"Objects in a category: {spread}."
    if animated := pose_counts(records):
        text += (
            f" Animated, as APNG with all their frames: {animated['objects']} objects, of "
            f"{animated['poses']} poses together."
        )
    if segmenters := segmenter_counts(records):
        text += f" Cut out by: {', '.join(f'{name} {n}' for name, n in segmenters.items())}."
    if scores := score_summary(records):
        quantiles = scores["quantiles"]
        text += (
            f" CLIP scores: {quantiles['0.05']:.1f} (5 %), {quantiles['0.5']:.1f} (median), "
            f"{quantiles['0.95']:.1f} (95 %)."
        )
    return Markdown("## Contents\n\n{}").format(text)


def credit_lines(card: Mapping[str, Any], name: str) -> list[Markdown]:
    """A line for each bank whose objects a bank has: its license, and whom it says to name.

    Args:
        card: Card of the bank.
        name: Name of the bank.
    """
    parts = card.get(ORIGINS)
    if isinstance(parts, list) and all(isinstance(part, Mapping) for part in parts):
        return [line for part in parts for line in credit_lines(part, str(part.get("bank", name)))]
    said = card.get("licence")
    line = Markdown("* Objects of the bank {}: {} ({}).").format(
        name, str(said or "not stated").rstrip("."), hub_license(said)
    )
    if attribution := card.get("attribution"):
        line += Markdown(" Attribution: {}.").format(str(attribution).rstrip("."))
    return [line]


def _license(card: Mapping[str, Any], name: str) -> Markdown:
    licence = card.get("licence") or "not stated: ask whoever made the bank"
    text = Markdown("## License and safety\n\nLicense: {}.").format(licence)
    if card.get(ORIGINS):
        text += Markdown("\n\n") + Markdown("\n").join(credit_lines(card, name))
    elif attribution := card.get("attribution"):
        text += Markdown("\n\nAttribution: {}.").format(str(attribution).rstrip("."))
    if safety := card.get("safety"):
        if isinstance(safety, Mapping):
            notes = [Markdown("* {}: {}").format(key, value) for key, value in safety.items()]
        else:
            notes = [Markdown("* {}").format(safety)]
        return Markdown("\n").join([text + Markdown("\n"), *notes])
    if card.get("source") == "folder":
        text += Markdown(
            "\n\nThe images were there before the bank; nothing was checked for what they show or "
            "for whose they are."
        )
    return text
