"""Which row of a table a run belongs to."""

from dataclasses import replace
from pathlib import Path

import pytest
from smile_motion.errors import InputError
from smile_train.checkpoints.families import FAMILIES
from smile_train.config.pretrain import PretrainConfig
from smile_train.config.pretrain_presets import PRESETS
from smile_train.evaluation.tables.match import place
from support.results import make_results, trained


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_its_own_row_and_that_of_its_equals(name: str) -> None:
    found = place(make_results(name))
    assert name in found.rows
    assert not found.notes
    assert set(found.rows) == {other for other in PRESETS if settled(other) == settled(name)}


def settled(name: str) -> PretrainConfig:
    config = PRESETS[name]
    return replace(config, preset="", objects=2 if config.objects is None else config.objects)


def test_rows_follow_values_not_names() -> None:
    moved = replace(PRESETS["table4-clip-motion"], mask_ratio=0.8, videos=Path("v"), workers=9)
    assert place(make_results(moved)).rows == ("table4e-ratio-80",)
    said = replace(PRESETS["table4f-objects-1"], preset="mine", objects=1)
    assert place(make_results(said)).rows == ("table4f-objects-1",)
    default = place(make_results("table4f-objects-2")).rows
    assert "table4d-single" in default
    assert len(default) == 6
    assert place(
        make_results(replace(PRESETS["table7-noise"], preset="x", background=None))
    ).rows == ("table7-noise",)
    assert place(make_results(replace(PRESETS["table7-noise"], preset="x", epochs=3))).rows == ()
    assert place(make_results(None)).rows == ()
    assert place(make_results(None, pretraining={"untrained": "vit-s"})).rows == ("scratch",)
    assert place(make_results(None, source="viclip:weights/l14.pth")).rows == ("viclip",)
    for family in FAMILIES:
        found = place(make_results(None, pretraining={"published": family.name})).rows
        assert found == ((family.name.lower(),) if " " not in family.name else ())


def test_what_differs_is_said() -> None:
    shorter = replace(PRESETS["table4-pixel"], epochs=3, batch=16)
    found = place(make_results(shorter))
    assert found.rows == ("table4-pixel",)
    assert found.notes == ("epochs 3 instead of 400", "batch 16 instead of 256")
    early = {**trained(shorter), "step": 5, "steps_total": 90}
    assert place(make_results(None, pretraining=early)).notes[-1] == "unfinished, step 5 of 90"
    own = {**trained(PRESETS["table4-pixel"]), "step": 5, "steps_total": 90}
    assert place(make_results(None, pretraining=own)).notes == ("unfinished, step 5 of 90",)
    assert not place(make_results(None, pretraining=own | {"step": 90})).notes
    unknown = place(make_results(None, pretraining=early | {"preset": "tiny"}))
    assert not unknown.rows
    assert unknown.notes == ("unfinished, step 5 of 90",)
    half = place(make_results("table4d-progressive", stage=0))
    assert half.rows == ("table4d-progressive",)
    assert half.notes == ("stage 1 of 2 alone",)
    by_hand = place(make_results("tiny"), "table4d-mixed")
    assert by_hand.rows == ("table4d-mixed",)
    assert by_hand.notes == ("row given by hand",)
    with pytest.raises(InputError, match="no row is called 'table9'"):
        place(make_results("tiny"), "table9")


@pytest.mark.parametrize("value", [7, [], {"a": 1}, "x", 0.5, None])
def test_damaged_values_of_a_pretraining_lead_to_no_row(value: object) -> None:
    results = make_results("table4-clip-motion")
    told = dict.fromkeys(("init", "preset", "step", "steps_total", "recipe", "objects"), value)
    assert place(replace(results, pretraining=results.pretraining | told)).rows == ()
