"""Changes to files that nobody would make: of bytes, of JSON, of arrays, of archives of weights."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import numpy as np

RAW = {
    "huge": "1e999",
    "long": "9" * 5000,
    "deep": "[" * 3000 + "]" * 3000,
    "deeper": '{"a":' * 100_000,
    "nan": "NaN",
    "minus": "-Infinity",
}
"""What no Python value stands for in JSON, as it is written."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-320, 1e308, -1e308, 255, 256, 8193),
    *(2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40),
    *("", "\0", " ", "x" * 100_000, "../../etc/passwd", "/dev/zero", "/dev/stdin", "con", "."),
    *("<script>alert(1)</script>", "a\nb\tc", "\ud800", "\u202e", "é" * 300, "1", "NaN", "%s{0}"),
    *([], {}, [[]], [None], {"": None}, {"kind": "none"}, [0] * 5000, {"__class__": "os"}),
    *(f"\0{name}\0" for name in RAW),
)
NUMBERS = (np.nan, np.inf, -np.inf, -1, 0, 1, 2**15, 2**31 - 1, -(2**31), 2**62, 1e30, 0.3)
DTYPES = ("float64", "float16", "int8", "uint64", ">i4", "complex64", "bool", "S3", "U2", "O")
Change = Callable[[bytes, Random], bytes]


def change_bytes(data: bytes, rng: Random) -> bytes:
    """Flip, cut, repeat, overwrite or insert bytes, mostly few."""
    made, size = bytearray(data), len(data)
    at = rng.choice((rng.randrange(size + 1), min(size, rng.randrange(300)))) if size else 0
    length = rng.choice((1, 4, 8, 100, size // 3))
    match rng.randrange(7):
        case 0 | 1 if size:
            for _ in range(rng.choice((1, 2, 8, 64))):
                made[min(size - 1, at + rng.randrange(64))] ^= 1 << rng.randrange(8)
        case 2:
            del made[at:]
        case 3:
            del made[at : at + length]
        case 4:
            made[at:at] = made[at : at + length] * rng.choice((1, 2, 50))
        case 5:
            made[at : at + length] = rng.choice((b"\xff", b"\0", b"\x7f")) * length
        case _:
            made[at:at] = rng.randbytes(length % 10_000)
    return bytes(made)


def change_json(data: bytes, rng: Random) -> bytes:
    """Give a value another kind or size, take it away, or add a field; or change bytes."""
    if rng.random() < 0.2:
        return change_bytes(data, rng)
    content: list[Any] = [json.loads(data)]
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        _change_value(content, rng)
    return _written(content[0]) if content else b""


def change_lines(data: bytes, rng: Random) -> bytes:
    """Change one line of JSON, or leave it out, double it, or change bytes."""
    if rng.random() < 0.2:
        return change_bytes(data, rng)
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    lines[at : at + 1] = rng.choice(
        ([change_json(lines[at], rng)],) * 6 + ([], [lines[at]] * 2, [lines[at]] * 500)
    )
    return b"\n".join(lines) + b"\n"


def change_ending(data: bytes, rng: Random) -> bytes:
    """Change bytes or numbers near the end, where shards have their index, or anywhere."""
    if rng.random() < 0.2:
        return change_bytes(data, rng)
    begin = max(0, len(data.rstrip(b"\0")) - 2500)
    ending = data[begin:]
    if rng.random() < 0.5:
        return data[:begin] + change_bytes(ending, rng)
    numbers = list(re.finditer(rb"(?<=[:, ])\d+(?=[,}])", ending))
    if not numbers:
        return data[:begin] + change_bytes(ending, rng)
    number = rng.choice(numbers)
    # As many characters as before, so that what follows stays where it is.
    size = number.end() - number.start()
    other = rng.choice(
        (b"9" * size, b"0" * (size - 1) + b"1", b"-" + b"9" * (size - 1), b"0" * size)
    )
    return data[:begin] + ending[: number.start()] + other + ending[number.end() :]


def change_text(data: bytes, rng: Random) -> bytes:
    """Change one line of text, or bytes."""
    if rng.random() < 0.4:
        return change_bytes(data, rng)
    lines = data.decode().splitlines()
    odd = [value for value in VALUES if isinstance(value, str) and "\ud800" not in value]
    words = lines[rng.randrange(len(lines))].split(" ")
    words[rng.randrange(len(words))] = rng.choice(odd)
    lines[rng.randrange(len(lines))] = rng.choice((" ", ",", "\t")).join(words)
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32-be"))
    return rng.choice(("\n", "\r\n", "\r")).join(lines).encode(encoding)


def change_array(data: bytes, rng: Random) -> bytes:
    """Give an array other values, another shape or type; or change bytes."""
    if rng.random() < 0.25:
        return change_bytes(data, rng)
    array = np.load(io.BytesIO(data))
    match rng.randrange(4):
        case 0 | 1:
            array = array.copy()
            with np.errstate(all="ignore"):
                number = np.array(rng.choice(NUMBERS)).astype(array.dtype)
            array.reshape(-1)[rng.randrange(array.size) :: rng.choice((1, 7, array.size))] = number
        case 2:
            shapes = (array.reshape(-1), array[None], array[:0], array[:-1], array[..., 0], array.T)
            array = rng.choice((*shapes, np.repeat(array, 3, 0), array.reshape(-1)[0], array[::-1]))
        case _:
            array = array.astype(rng.choice(DTYPES))
    written = io.BytesIO()
    np.save(written, array, allow_pickle=True)
    return written.getvalue()


def change_archive(data: bytes, rng: Random) -> bytes:
    """Change one entry of what torch.save wrote, and zip it soundly; or change bytes."""
    if rng.random() < 0.3:
        return change_bytes(data, rng)
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as sound, zipfile.ZipFile(written, "w") as made:
        names = sound.namelist()
        pickles = [name for name in names if name.endswith("data.pkl")]
        wanted = rng.choice((*pickles * 4, rng.choice(names)))
        for name in names:
            content = sound.read(name)
            made.writestr(name, change_bytes(content, rng) if name == wanted else content)
    return written.getvalue()


def change_safetensors(data: bytes, rng: Random) -> bytes:
    """Change a header's JSON, and have its length right; or change bytes."""
    if rng.random() < 0.4:
        return change_bytes(data, rng)
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = change_json(data[8:end], rng)
    return struct.pack("<Q", len(header)) + header + data[end:]


def _places(content: Any) -> list[tuple[Any, Any]]:
    """All values: what holds each, and by which key."""
    found, left = [], [content]
    while left:
        holder = left.pop()
        entries = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in entries:
            found.append((holder, key))
            if isinstance(value, dict | list):
                left.append(value)
    return found


def _change_value(content: list[Any], rng: Random) -> None:
    places = _places(content)
    if not places:
        return
    # Of long lists of numbers each would be chosen, and hardly ever a name.
    named = [place for place in places if isinstance(place[0], dict)]
    holder, key = rng.choice(named if named and rng.random() < 0.7 else places)
    value = holder[key]
    match rng.randrange(8):
        case 0 if holder is not content:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(("unknown", "", "kind", key + " ", "x" * 10_000))] = value
        case 2 if isinstance(value, int | float) and not isinstance(value, bool):
            holder[key] = rng.choice((-value, value + 1, value * 1000, float(value), str(value)))
        case 3 if isinstance(value, list):
            holder[key] = deepcopy(
                rng.choice((value * 2, value[:-1], value[::-1], [value], value * 300))
            )
        case _:
            holder[key] = deepcopy(rng.choice(VALUES))


def _written(content: Any) -> bytes:
    text = json.dumps(content)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(f"\0{name}\0"), raw)
    return text.encode()
