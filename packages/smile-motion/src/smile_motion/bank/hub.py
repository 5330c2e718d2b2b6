"""Export a bank as a data set for `datasets`; upload it to and download it from the hub."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from smile_motion.bank.contact_sheet import SheetLayout
from smile_motion.bank.contact_sheet_pages import object_sections, spread_sections, write_pages
from smile_motion.bank.dataset_card import CARD_SHEET, README, write_dataset_card
from smile_motion.bank.format import CARD, IMAGES, METADATA, read_bank, require_unchanged
from smile_motion.bank.integrity import verify
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.packing import pack
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, dump_lines, sha256, write_atomically
from smile_motion.io.hub import hub_errors_explained, require_online
from smile_motion.io.output_folders import new_folder, place_file, require_free
from smile_motion.runtime.extras import require_libraries
from smile_motion.runtime.progress import OnProgress

SHOWN_CATEGORIES = 28
"""Categories on the contact sheet of a data set card: they fill one page."""
_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9])"
    r"(train|training|validation|valid|dev|val|test|testing|eval|evaluation)"
    r"(?![^-._ 0-9])"
)


def export_bank(
    folder: Path,
    out: Path,
    *,
    name: str | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> None:
    """Write a bank as a folder that `datasets.load_dataset("imagefolder", data_dir=...)` reads.

    The folder contains images by category, `metadata.jsonl`, `README.md` (the bank's own where it
    has one) with a contact sheet, and `bank.json`, so that `ObjectBank.open` opens it too. Packed
    pixels and candidates are not exported. Images are hard links where that is possible.

    Args:
        folder: Folder of the bank.
        out: Folder to write.
        name: Title of the data set card; the folder's name by default.
        on_progress: Called with (stage, done, total).

    Raises:
        InputError: `out` exists, or a file of the bank is missing or has changed.
    """
    card, records = read_bank(folder)
    renamed = [{**record, "file_name": neutral_name(record["file_name"])} for record in records]
    twice, times = Counter(record["file_name"] for record in renamed).most_common(1)[0]
    if times > 1:
        raise InputError(f"{folder}: {times} images would be called {twice}; rename a category")
    with new_folder(out) as target:
        for done, (record, new) in enumerate(zip(records, renamed, strict=True), start=1):
            source = folder / record["file_name"]
            place_file(source, target / new["file_name"])
            require_unchanged(source, record["sha256"])
            on_progress("placing images", done, len(records))
        lines = dump_lines(renamed) if renamed != records else (folder / METADATA).read_bytes()
        write_atomically(target / METADATA, lines)
        card = {**card, "metadata_sha256": sha256(lines)}
        if card.pop("candidates_sha256", None) is not None:
            card["candidates_kept"] = False
        write_atomically(target / CARD, dump_json(card))
        _describe(folder, target, card, renamed, name or folder.resolve().name)


def neutral_name(file_name: str) -> str:
    """Rename a file such as `images/bullet_train/0.png`, which `datasets` would assign to a split.

    `datasets` assigns files whose path contains `train`, `test` and so on as a word to that split
    and ignores all others; a `~` after the word prevents it.
    """
    return "/".join(_SPLIT_WORD.sub(r"\1~", part) for part in file_name.split("/"))


def _describe(
    folder: Path, target: Path, card: dict[str, Any], records: list[dict[str, Any]], name: str
) -> None:
    if (folder / README).is_file():
        write_atomically(target / README, (folder / README).read_bytes())
        if (folder / CARD_SHEET).is_file():
            write_atomically(target / CARD_SHEET, (folder / CARD_SHEET).read_bytes())
        return
    sections = spread_sections(object_sections(target), SHOWN_CATEGORIES)
    write_pages(
        target / CARD_SHEET,
        sections,
        SheetLayout.fit(sections),
        title=name,
        subtitle=f"{len(records)} objects · {len(sections)} of {card['categories']} categories",
    )
    write_dataset_card(target / README, card, records, name=name)


FILES = (CARD, METADATA, README, f"{CARD_SHEET.rpartition('/')[0]}/*", f"{IMAGES}/*")
"""Patterns of the files of a repository that belong to a bank."""
_HARMLESS = {".gitattributes", README}
"""Files that an otherwise empty repository may contain."""


def push(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> str:
    """Upload a bank as a data set repository, creating the repository where it does not exist.

    Files that the bank no longer has are deleted there and README.md is replaced; the bank's own is
    uploaded where it has one. An interrupted upload continues.

    Args:
        folder: Folder of the bank.
        repo_id: `owner/name`; `name` alone means the owner of the token.
        private: Create the repository as private; an existing one must be private already.
        revision: Branch, created where it does not exist; the main branch by default.
        on_progress: Called with (stage, done, total).

    Returns:
        URL of the new commit.

    Raises:
        InputError: The bank is faulty, the repository contains something else, the token is missing
            or may not write, or the hub cannot be reached.
    """
    require_libraries("huggingface_hub")
    from huggingface_hub import HfApi, get_token

    with hub_errors_explained(repo_id, writing=True), _quiet_when_piped():
        if get_token() is None:
            raise InputError(
                "no token for the hub; log in with: hf auth login, or set HF_TOKEN to a token "
                "that may write"
            )
        require_online()
        with _exported(folder, repo_id, on_progress) as exported:
            repo_id = _open_repository(repo_id, private, revision)
            commit = HfApi().upload_folder(
                repo_id=repo_id,
                repo_type="dataset",
                folder_path=exported,
                revision=revision,
                commit_message=f"Upload bank {folder.resolve().name}",
                allow_patterns=list(FILES),
                delete_patterns=list(FILES),
            )
        return commit.commit_url


def _open_repository(repo_id: str, private: bool, revision: str | None) -> str:
    """Create the repository and branch where they do not exist; returns `owner/name`."""
    from huggingface_hub import HfApi

    api = HfApi()
    repo_id = api.create_repo(
        repo_id, repo_type="dataset", private=private or None, exist_ok=True
    ).repo_id
    if private and not api.repo_info(repo_id, repo_type="dataset").private:
        raise InputError(
            f"{repo_id}: is there and public; make it private on the hub first, "
            f"or leave out --private"
        )
    if revision is not None:
        api.create_branch(repo_id, repo_type="dataset", branch=revision, exist_ok=True)
    there = api.list_repo_files(repo_id, repo_type="dataset", revision=revision)
    if CARD not in there and (others := sorted(set(there) - _HARMLESS)):
        raise InputError(
            f"{repo_id}: holds {others[0]} and no {CARD}, so no bank; choose another name"
        )
    return repo_id


def pull(
    repo_id: str,
    out: Path,
    *,
    revision: str | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> ObjectBank:
    """Download a bank, check every file against its hash, pack it and open it.

    Only the files of a bank are fetched. An interrupted download continues.

    Args:
        repo_id: `owner/name` of a data set repository.
        out: Folder of the bank.
        revision: Branch, tag or commit; the main branch by default.
        on_progress: Called with (stage, done, total).

    Returns:
        The bank.

    Raises:
        InputError: `out` exists, the repository is missing, not a bank, or faulty, or the hub
            cannot be reached.
    """
    require_libraries("huggingface_hub")
    from huggingface_hub import HfApi, snapshot_download

    require_free(out)
    with hub_errors_explained(repo_id, revision=revision), _quiet_when_piped():
        require_online()
        api = HfApi()
        commit = api.repo_info(repo_id, repo_type="dataset", revision=revision).sha
        names = api.list_repo_files(repo_id, repo_type="dataset", revision=commit)
        _require_bank(repo_id, names)
        with new_folder(out, resume=True) as folder:
            snapshot_download(
                repo_id,
                repo_type="dataset",
                revision=commit,
                local_dir=folder,
                allow_patterns=list(FILES),
            )
            try:
                _require_sound(repo_id, folder, set(names), on_progress)
                pack(folder, lambda done, total: on_progress("packing pixels", done, total))
            except InputError:
                shutil.rmtree(folder)
                raise
    return ObjectBank.open(out)


def _require_bank(repo_id: str, names: list[str]) -> None:
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
            raise InputError(
                f"{repo_id}: has a file called {name!r}, which would lead out of the bank's "
                f"folder; nothing was downloaded, do not use this repository"
            )
    for name in (CARD, METADATA):
        if name not in names:
            raise InputError(
                f"{repo_id}: no {name}, so no bank; `smile-motion bank push` uploads one"
            )


def _require_sound(repo_id: str, folder: Path, names: set[str], on_progress: OnProgress) -> None:
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # Bookkeeping of the hub's client.
    for path in (folder / IMAGES).rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in names:
            path.unlink()  # Left by an interrupted download.
    faults = []
    for checked, (name, fault) in enumerate(verify(folder), start=1):
        if fault is not None:
            faults.append(f"{name}: {fault}")
        on_progress("checking files", checked, max(checked, len(names)))
    if faults:
        raise InputError(
            f"{repo_id}: {len(faults)} files are not as the bank's records say, such as "
            f"{faults[0]}; pull again, or tell who uploaded it"
        )


@contextmanager
def _exported(folder: Path, repo_id: str, on_progress: OnProgress) -> Iterator[Path]:
    """Export the bank temporarily, beside it where possible, so that images are hard links."""
    name = repo_id.rpartition("/")[2]
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".push-", dir=folder.resolve().parent)
    except OSError:
        scratch = tempfile.TemporaryDirectory(prefix="push-")
    with scratch as path:
        export_bank(folder, Path(path) / "bank", name=name, on_progress=on_progress)
        yield Path(path) / "bank"


@contextmanager
def _quiet_when_piped() -> Iterator[None]:
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    silence = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if silence:
        disable_progress_bars()
    try:
        yield
    finally:
        if silence:
            enable_progress_bars()
