"""Verify the files of a bank against its records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from smile_motion.bank.format import (
    CANDIDATE_IMAGES,
    CANDIDATES,
    IMAGES,
    LARGEST_SIDE_PX,
    METADATA,
    PACKED,
    read_candidates,
    read_card,
    read_metadata,
    read_rgba,
)
from smile_motion.bank.packing import HEADER, PackHeader, is_packed, packed_files
from smile_motion.errors import InputError
from smile_motion.io.files import hash_file, sha256
from smile_motion.io.images import open_image
from smile_motion.io.schema import read


def verify(folder: str | Path) -> Iterator[tuple[str, str | None]]:
    """Check every file of a bank.

    Args:
        folder: Folder of the bank.

    Yields:
        (file name, fault or None): listed files, then unlisted ones, packed files, the records of
        candidates, and the candidates' images that were kept. An outdated packed form is not a
        fault: it is made again when the bank is opened.

    Raises:
        InputError: The folder is not a bank.
    """
    folder = Path(folder)
    card = read_card(folder)
    records = read_metadata(folder)
    found = sha256((folder / METADATA).read_bytes())
    yield METADATA, None if found == card["metadata_sha256"] else "differs from the card's hash"
    for record in records:
        yield record["file_name"], _fault(folder / record["file_name"], record["sha256"])
    listed = {record["file_name"] for record in records}
    for path in sorted((folder / IMAGES).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in listed:
            yield name, f"not listed in {METADATA}"
    if is_packed(folder):
        yield from _packed(folder)
    if (folder / CANDIDATES).is_file():
        yield CANDIDATES, _candidates_fault(folder, card.get("candidates_sha256"))
        for path in sorted((folder / CANDIDATE_IMAGES).rglob("*.png")):
            yield path.relative_to(folder).as_posix(), _unreadable(path)


def count_files(folder: Path) -> int:
    """Number of files that `verify` checks, as far as the records tell."""
    count = 1 + len(read_metadata(folder))
    if is_packed(folder):
        count += max(1, len(_packed_hashes(folder)[0]))
    if (folder / CANDIDATES).is_file():
        count += 1 + sum(1 for _ in (folder / CANDIDATE_IMAGES).rglob("*.png"))
    return count


def _fault(path: Path, expected: str) -> str | None:
    try:
        if sha256(path.read_bytes()) == expected:
            return None
        read_rgba(path, name="image")
    except FileNotFoundError:
        return "missing"
    except InputError as error:
        return str(error)
    return "differs from its recorded hash"


def _packed_hashes(folder: Path) -> tuple[dict[str, str], str | None]:
    """Recorded hashes of the packed files, or none and what is wrong with the header."""
    path, remedy = folder / PACKED / HEADER, f"run smile-motion bank pack {folder} --force"
    try:
        header = read(path, PackHeader, remedy=remedy)
    except InputError as error:
        return {}, str(error).removeprefix(f"{path}: ")
    hashes: dict[str, str] = header.sha256
    if hashes.keys() != {*packed_files(animated=header.poses is not None)}:
        return {}, f"has hashes of other files than are packed; {remedy}"
    return hashes, None


def _packed(folder: Path) -> Iterator[tuple[str, str | None]]:
    remedy = f"run smile-motion bank pack {folder} --force"
    hashes, fault = _packed_hashes(folder)
    if fault is not None:
        yield f"{PACKED}/{HEADER}", fault
    for name, expected in hashes.items():
        path = folder / PACKED / name
        fault = None
        if not path.is_file():
            fault = f"missing; {remedy}"
        elif hash_file(path) != expected:
            fault = f"differs from its recorded hash; {remedy}"
        yield f"{PACKED}/{name}", fault


def _candidates_fault(folder: Path, expected: str | None) -> str | None:
    if expected is not None and sha256((folder / CANDIDATES).read_bytes()) != expected:
        return "differs from the card's hash"
    try:
        records = read_candidates(folder)
    except InputError as error:
        return str(error)
    repeated = len(records) - len({(one["category"], one["attempt"]) for one in records})
    return f"{repeated} candidates are there twice" if repeated else None


def _unreadable(path: Path) -> str | None:
    try:
        with open_image(path, largest_px=LARGEST_SIDE_PX) as image:
            image.verify()
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    return None
