"""Where a checkpoint comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def pretraining_of(checkpoint: str | Path) -> dict[str, Any]:
    """Configuration that a checkpoint's encoder was pre-trained with, where it is known.

    returns  of published files `published`, whose they are; nothing of folders of others, hub ids
             and CLIP's towers.
    Raises InputError when the file is of no known family.
    """
    from smile_train.checkpoint import CONFIG
    from smile_train.interop.backbones import open_backbone
    from smile_train.interop.checkpoints import find_checkpoint

    path = Path(checkpoint)
    if path.is_file():
        return open_backbone(path).pretraining
    found = find_checkpoint(path) if path.is_dir() else None
    if found is None:
        return {}
    config = json.loads((found / CONFIG).read_text(encoding="utf-8"))
    return config.get("pretraining", {}) if "classes" in config else config
