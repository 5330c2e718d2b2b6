"""Packed banks with damaged arrays: none is opened, each is one line with the remedy."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smile_motion.bank import ObjectBank
from smile_motion.bank.integrity import count_files, verify
from smile_motion.bank.packing import PackedArrays, _fault, open_arrays
from smile_motion.errors import InputError
from smile_motion.io.files import dump_json

ARRAYS = tuple(name for name in PackedArrays.__annotations__ if name != "pose_start")


@pytest.fixture(scope="module")
def packed(small_bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "bank"
    shutil.copytree(small_bank.path, folder)
    return folder


def refused(bank: Path, name: str, array: Any, said: str) -> None:
    """Opening with another array in place of one is refused in a line with the remedy."""
    path = bank / "packed" / f"{name}.npy"
    kept = path.read_bytes()
    # A new file, and not the one that other banks may have mapped.
    path.unlink()
    try:
        if isinstance(array, bytes):
            path.write_bytes(array)
        elif array is not None:
            np.save(path, array, allow_pickle=True)
        with pytest.raises(InputError, match=said) as caught:
            ObjectBank.open(bank)
        assert str(caught.value).startswith(f"{bank}/packed/")
        assert f"run smile-motion bank pack {bank} --force" in str(caught.value)
        assert "\n" not in str(caught.value)
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(kept)


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_other_shapes_and_types_are_refused(packed: Path, name: str) -> None:
    sound = np.load(packed / "packed" / f"{name}.npy")
    other = np.float64 if sound.dtype != np.float64 else np.float32
    for array in (
        sound[:-1],
        np.concatenate([sound, sound[-1:]]),
        sound[None],
        sound.reshape(-1)[0],
        sound[:0],
        sound.astype(other),
        sound.astype(sound.dtype.newbyteorder(">")) if sound.dtype != bool else sound.view(np.int8),
        sound.astype(object),
        None,
        b"",
        b"\x93NUMPY\x01\x00",
        b"PK\x03\x04" + bytes(100),
        (packed / "packed" / f"{name}.npy").read_bytes()[:-1],
    ):
        refused(packed, name, array, "damaged|missing")
    if sound.ndim > 1:
        refused(packed, name, np.asfortranarray(sound), "damaged")
    ObjectBank.open(packed)


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("cover", (3, 5, 0), np.nan, "values of nan"),
        ("cover", (0, 0, 1), 1e30, "expected about -0.5 to 0.5"),
        ("ring", (7, 1), np.nan, "values of nan"),
        ("ring", (0, 0), -np.inf, "values of -inf"),
        ("ring_start", 1, 10**6, "not ascending"),
        ("ring_start", 1, -1, "not ascending"),
        ("ring_start", 0, 1, "not ascending"),
        ("ring_start", -1, 10**6, "not ascending"),
        ("ring_start", 2, -(2**63), "not ascending"),
        ("object_ring", 1, 10**6, "not ascending"),
        ("object_ring", 1, -1, "not ascending"),
        ("object_ring", -1, 0, "not ascending"),
        ("offset", (0, 0), 4, "levels do not follow"),
        ("offset", (5, 2), 10**12, "levels do not follow"),
        ("offset", (5, 2), -4, "levels do not follow"),
        ("offset", (-1, -1), 2**63 - 1, "levels do not follow"),
        ("size", (2, 0, 0), 0, "sides of 0 to"),
        ("size", (2, 0, 0), -3, "sides of -3 to"),
        ("size", (2, 1, 1), 2**31 - 1, "sides of"),
        ("size", (0, 0, 0), 255, "levels do not follow"),
        ("category", 0, -1, "ascending order"),
        ("category", -1, 10**6, "ascending order"),
        ("category", 1, 0, "ascending order"),
        ("ring_hole", 0, True, "first ring is a hole"),
    ],
)
def test_numbers_that_lead_astray_are_refused(
    packed: Path, name: str, place: Any, value: Any, said: str
) -> None:
    array = np.load(packed / "packed" / f"{name}.npy")
    assert array[place] != value
    array[place] = value
    # A level of another size is where the next does not follow.
    blamed = "offset" if said == "levels do not follow" else name
    refused(packed, name, array, rf"{blamed}\.npy: damaged: .*{said}")


def test_poses_that_lead_astray_are_refused(moving_bank: ObjectBank, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    shutil.copytree(moving_bank.path, bank)
    sound = np.load(bank / "packed" / "pose_start.npy")
    assert sound.tolist() == [0, 6, 10, 11]
    for array in (
        *(None, b"", sound[:-1], sound.astype(np.int32), sound[None], sound + 1),
        *(np.array([0, *wrong, 11]) for wrong in ((0, 10), (6, 6), (7, 5), (6, 12), (-1, 9))),
    ):
        refused(bank, "pose_start", array, "damaged|missing")
    header = bank / "packed" / "pack.json"
    told = json.loads(header.read_bytes())
    assert (told["count"], told["poses"]) == (3, 11)
    for poses in (10, 12):
        header.write_bytes(dump_json(told | {"poses": poses}))
        with pytest.raises(InputError, match=r"offset\.npy: damaged"):
            ObjectBank.open(bank)


@pytest.mark.parametrize("bytes_", [0, 100, -4, 4])
def test_pixels_of_another_length_are_refused(packed: Path, bytes_: int) -> None:
    path = packed / "packed" / "pixels.bin"
    kept = path.read_bytes()
    path.unlink()
    path.write_bytes(kept[:bytes_] if bytes_ <= 0 or bytes_ == 100 else kept + bytes(bytes_))
    with pytest.raises(InputError, match=r"levels do not follow one another in \d+ bytes"):
        ObjectBank.open(packed)
    path.unlink()
    path.write_bytes(kept)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": 7}, "damaged"),
        ({"count": -1}, r"pack\.json: count is -1"),
        ({"count": True}, r"pack\.json: count is True; expected a valid integer"),
        ({"categories": []}, r"pack\.json: categories is \[\]"),
        ({"categories": "abc"}, r"pack\.json: categories is 'abc'"),
        ({"categories": ["one"]}, r"category\.npy: damaged"),
        ({"sha256": [1]}, r"pack\.json: sha256 is \[1\]"),
    ],
)
def test_headers_of_packed_banks_that_lie_are_refused(
    packed: Path, change: dict[str, Any], said: str
) -> None:
    path = packed / "packed" / "pack.json"
    kept = path.read_bytes()
    path.unlink()
    path.write_bytes(dump_json(json.loads(kept) | change))
    with pytest.raises(InputError, match=said) as caught:
        ObjectBank.open(packed)
    assert "bank pack" in str(caught.value)
    path.unlink()
    path.write_bytes(kept)


def test_a_bank_of_sixty_thousand_is_checked_within_a_moment() -> None:
    count, levels, points = 60_000, 6, 40
    sides = np.array([200, 100, 50, 25, 13, 7], np.int32)
    size = np.broadcast_to(sides[None, :, None], (count, levels, 2)).copy()
    area = 4 * (sides.astype(np.int64) + 2) ** 2
    starts = np.cumsum(area) - area
    offset = np.arange(count)[:, None] * area.sum() + starts
    arrays = PackedArrays(
        offset=offset,
        size=size,
        cover=np.full((count, 16, 2), 0.5, np.float32),
        category=(np.arange(count) // 50).astype(np.int32),
        ring=np.full((count * points, 2), -0.5, np.float32),
        ring_start=np.arange(count + 1) * points,
        ring_hole=np.zeros(count, bool),
        object_ring=np.arange(count + 1),
    )
    times = []
    for _ in range(3):
        before = time.process_time()
        assert _fault(arrays, count, count, count // 50, count * int(area.sum())) is None
        times.append(time.process_time() - before)
    assert min(times) < 0.1  # 0.02 s measured


def test_what_is_opened_is_what_was_packed(small_bank: ObjectBank) -> None:
    categories, arrays = open_arrays(small_bank.path)
    assert categories == small_bank.categories
    assert arrays.offset.shape == (len(small_bank), 6)
    assert (small_bank.path / "packed/pixels.bin").stat().st_size > arrays.offset.max()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": "7"}, r"metadata\.jsonl:1: width is '7'; expected a valid integer"),
        ({"height": 0}, r"metadata\.jsonl:1: height is 0; expected greater than or equal to 1"),
        ({"height": 10**9}, r"metadata\.jsonl:1: height is 1000000000; expected less"),
        ({"area_share": True}, "area_share is True; expected a valid number"),
        ({"score": [1]}, r"score is \[1\]; expected a valid number"),
        ({"file_name": 3}, "file_name is 3; expected a valid string"),
        ({"category": ""}, "category is ''; expected at least 1 character"),
        ({"sha256": "no"}, "sha256 is 'no'; expected at least 64 characters"),
        ({"id": None}, "id is None; expected a valid string"),
    ],
)
def test_records_of_wrong_types_are_refused_by_line_and_field(
    packed: Path, change: dict[str, Any], said: str
) -> None:
    from smile_motion.bank.format import read_metadata

    path = packed / "metadata.jsonl"
    kept = path.read_bytes()
    first, *rest = kept.splitlines(keepends=True)
    path.unlink()
    path.write_bytes(json.dumps(json.loads(first) | change).encode() + b"\n" + b"".join(rest))
    with pytest.raises(InputError, match=said) as caught:
        read_metadata(packed)
    assert "build the bank again" in str(caught.value)
    path.unlink()
    path.write_bytes(kept)
    records = read_metadata(packed)
    assert [list(record) for record in records] == [list(map(str, json.loads(first)))] * 30


@pytest.mark.parametrize(
    "card", [[], 7, {}, {"format": 2}, {"metadata_sha256": 7}, {"categories": -1}]
)
def test_cards_of_wrong_types_are_refused(packed: Path, card: Any) -> None:
    path = packed / "bank.json"
    kept = path.read_bytes()
    path.unlink()
    path.write_bytes(dump_json(json.loads(kept) | card if card and card != 7 else card))
    with pytest.raises(InputError, match=r"bank\.json.*build the bank again"):
        ObjectBank.open(packed)
    path.unlink()
    path.write_bytes(kept)


@pytest.mark.parametrize("header", ["{'shape': (3, ", "-" * 9000, "(" * 5000, "'''", "{[]: 1}"])
def test_headers_that_are_no_python_are_refused(packed: Path, header: str) -> None:
    made = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode()
    refused(packed, "offset", made + bytes(100), "damaged")


@pytest.mark.parametrize("hashes", [7, [], {}, {"../../bank.json": "ab" * 32}, {"ring.npy": None}])
def test_damaged_records_of_hashes_are_told(packed: Path, hashes: object, tmp_path: Path) -> None:
    bank = Path(shutil.copytree(packed, tmp_path / "bank"))
    path = bank / "packed/pack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": hashes}))
    found = list(verify(bank))
    assert count_files(bank) == len(found)
    ((name, fault),) = [one for one in found if one[1] is not None]
    assert name == "packed/pack.json"
    assert fault is not None
    assert fault.endswith(f"run smile-motion bank pack {bank} --force")
