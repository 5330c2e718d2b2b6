"""How files are written: whole or not at all, and the same bytes for the same content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def sha256(data: bytes) -> str:
    """Hash of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def dump_json(data: Any) -> bytes:
    """Encode JSON for people to read, ending in a newline."""
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()


def dump_lines(records: Iterable[dict[str, Any]]) -> bytes:
    """Encode records as JSON lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
