import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smile_motion.bank.candidates.categories import deny, quotas, read_categories
from smile_motion.bank.candidates.types import Category
from smile_motion.errors import InputError


def test_imagenets_names_are_told_apart() -> None:
    short, long = read_categories("imagenet1k"), read_categories("imagenet21k")
    assert len(short) == 998  # missile and sunglasses come twice
    assert len(long) > 21_000
    for categories in (short, long):
        folders = [category.folder for category in categories]
        assert len(set(folders)) == len(folders)
    cranes = [category for category in long if category.name == "crane"]
    assert [category.folder for category in cranes] == ["crane", "crane_2"]
    assert "bird" in str(cranes[0].definition)


def test_annotation_files_of_lvis_and_coco(tmp_path: Path) -> None:
    path = tmp_path / "lvis.json"
    entries = [
        {"id": 1, "name": "fire_engine", "def": "a truck that carries firemen"},
        {"id": 2, "name": "bow_(weapon)", "def": "a weapon for shooting arrows"},
        {"id": 3, "name": "bow_(decorative_ribbons)", "def": "a decorative knot"},
        {"id": 4, "name": "traffic light"},
    ]
    path.write_text(json.dumps({"images": [], "categories": entries}))
    found = read_categories(str(path))
    assert [category.name for category in found] == ["fire engine", "bow", "bow", "traffic light"]
    assert [category.folder for category in found] == [
        *("fire_engine", "bow", "bow_2", "traffic_light")
    ]
    assert found[1].definition == "a weapon for shooting arrows"


def test_a_text_has_a_name_or_a_name_and_a_definition_on_a_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("# tools\nhammer\n\nSaw\ta tool with teeth\nhammer\nжук\n")
    assert read_categories(str(path)) == (
        Category("hammer"),
        Category("Saw", "a tool with teeth"),
        Category("жук"),
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.txt", None, "no such file, and not imagenet1k"),
        ("mine.txt", b"hammer\n!?\n", r"mine.txt:2: category '!\?' has no letters"),
        ("empty.txt", b"# nothing\n", "no category in it"),
        ("picture.txt", b"\xff\xd8\xff\xe0", "picture\\.txt:1: not UTF-8 text"),
        ("torn.json", b'{"categories": [', r"torn\.json: not JSON .*; give annotations of LVIS"),
        ("other.json", b'{"names": []}', "categories is missing; give annotations of LVIS"),
        ("list.json", b'{"categories": ["cat"]}', r"categories\[0\] is 'cat'; expected an object"),
    ],
)
def test_what_is_no_list_is_refused(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_categories(str(tmp_path / name))


def test_people_and_weapons_are_denied_and_instruments_are_not() -> None:
    kept, refused = deny(read_categories("imagenet21k"))
    names = {category.name for category in refused}
    assert {"beggarman", "novelist", "Filipino", "rifle", "revolver", "machine gun"} <= names
    # Kinds of person whatever their definitions say, and persons by name.
    assert {"soldier", "lifeguard", "ambassador", "zoo keeper", "Popper"} <= names
    assert not {"electric guitar", "tennis", "hammer", "wood drake", "lamp", "gryphon"} & names
    assert len(kept) + len(refused) == len(read_categories("imagenet21k"))
    lvis = [Category(name) for name in ("person", "gun", "Baby", "teapot", "projectile (weapon)")]
    assert [category.name for category in deny(lvis)[0]] == ["teapot"]


def test_the_deny_list_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "denied.txt"
    path.write_text("Fire_Engine # red\n/with teeth$/\n")
    categories = (Category("fire engine"), Category("saw", "a tool with teeth"), Category("gun"))
    assert deny(categories, path) == ((Category("gun"),), categories[:2])
    judge = Category("judge", people=True)
    assert deny([judge], path) == ((judge,), ())
    path.write_text("<people> # all of them\n")
    assert deny([judge, categories[0]], path) == (categories[:1], (judge,))
    path.write_text("/(/\n")
    with pytest.raises(InputError, match=r"denied.txt:1: /\(/"):
        deny(categories, path)
    with pytest.raises(InputError, match="check --deny"):
        deny(categories, tmp_path / "none")


@given(st.integers(0, 100_000), st.integers(1, 2000))
def test_quotas_are_balanced_and_sum_to_the_count(count: int, categories: int) -> None:
    wanted = quotas(count, categories)
    assert sum(wanted) == count
    assert max(wanted) - min(wanted) <= 1
