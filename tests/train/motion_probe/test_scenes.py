"""Scenes and clips of motion probes, whose labels the order of frames alone tells."""

from dataclasses import replace

import numpy as np
import pytest
from smile_motion.bank import ObjectBank, draw_from, open_bank
from smile_motion.truth.instances import Truth
from smile_train.motion_probe.clips import PARTS, ProbeClips, share_out
from smile_train.motion_probe.config import FACTORS, SCENE_CLASSES, SceneName
from smile_train.motion_probe.scenes import DIRECTIONS, FRAMES


def asked(clips: ProbeClips, name: SceneName, number: int) -> tuple[np.ndarray, dict[str, float]]:
    """Path of the largest object, (T, 2) pixels, and the labels."""
    scene, plan = clips.scene(name, number)
    largest = int(np.argmax([track.side for track in scene.tracks]))
    return plan.centre[largest], scene.labels


def test_directions_are_those_of_the_plan(clips: ProbeClips) -> None:
    for number in range(32):
        path, labels = asked(clips, "direction", number)
        steps = np.diff(path, axis=0)
        wanted = np.array(DIRECTIONS[int(labels["direction"])])
        along = steps @ wanted / np.maximum(np.linalg.norm(steps, axis=1), 1e-9)
        same = along / np.linalg.norm(wanted) > 0.999
        assert same.sum() >= 8
        assert labels["direction"] == number % 8


def test_directions_visit_the_same_places(clips: ProbeClips) -> None:
    for number in range(16):
        path, _ = asked(clips, "direction", number)
        low, high = path.min(0), path.max(0)
        places = np.rint(3 * (path - low) / (high - low)).astype(int)
        assert len({tuple(place) for place in places}) == FRAMES


@pytest.mark.parametrize("name", [name for name, n in SCENE_CLASSES.items() if n == 2])
def test_of_a_pair_one_is_the_other_backwards(clips: ProbeClips, name: SceneName) -> None:
    if name == "hidden":
        return  # Both have a place of their own, and end behind the wall.
    for number in range(0, 6, 2):
        (first, plan), (second, other) = (clips.scene(name, number + k) for k in (0, 1))
        np.testing.assert_array_equal(plan.objects, other.objects)
        np.testing.assert_allclose(plan.centre, other.centre[:, ::-1])
        np.testing.assert_allclose(plan.scale, other.scale[:, ::-1])
        np.testing.assert_allclose(plan.angle_deg, other.angle_deg[:, ::-1])
        for factor, label in first.labels.items():
            if FACTORS[factor].classes:  # type: ignore[index]
                assert {label, second.labels[factor]} == {0, 1}


def test_speed_and_turn_are_those_of_the_plan(clips: ProbeClips) -> None:
    for number in range(8):
        path, labels = asked(clips, "orbit", number)
        a, b, c = path[0], path[4], path[9]  # The circle's center, from three of its points.
        centre = np.linalg.solve(2 * np.array([b - a, c - a]), [b @ b - a @ a, c @ c - a @ a])
        around = path - centre
        radius = np.linalg.norm(around, axis=1)
        np.testing.assert_allclose(radius, radius[0])
        turns = np.unwrap(np.arctan2(-around[:, 1], around[:, 0]))
        speed = np.abs(np.diff(turns)).mean() * radius[0] * 224 / 64
        assert speed == pytest.approx(labels["speed"])
        scene, plan = clips.scene("spin", number)
        slot = int(np.argmax([track.side for track in scene.tracks]))
        np.testing.assert_allclose(np.diff(plan.angle_deg[slot]), scene.labels["rotation_rate"])
        assert (scene.labels["rotation_rate"] < 0) == scene.labels["rotation_sense"]


def test_what_a_scene_says_is_in_its_plan(clips: ProbeClips) -> None:
    for number in range(8):
        scene, plan = clips.scene("growth", number)
        slot = int(np.argmax([track.scale is not None for track in scene.tracks]))
        grows = (np.diff(plan.scale[slot, :, 0]) > 0).sum() > 10
        assert grows == (scene.labels["growth"] == 0)
        scene, plan = clips.scene("count", number)
        angles = plan.centre - plan.centre.mean(1, keepdims=True)
        turns = np.diff(np.unwrap(np.arctan2(angles[..., 1], angles[..., 0])), axis=1)
        travelling = (turns.std(1) < 1e-6).sum()
        assert travelling == scene.labels["count"] + 1
        scene, plan = clips.scene("front", number)
        assert (plan.centre[2, -1, 0] > plan.centre[2, 0, 0]) == (scene.labels["front"] == 0)
        path, labels = asked(clips, "reversal", number)
        moves = np.linalg.norm(np.diff(path, axis=0), axis=1)
        jump = int(np.argmax(moves[:8]))
        run = moves[jump + 1 : jump + 7]
        assert (run[-1] > run[0]) == (labels["reversal"] == 0)


def test_two_cross_in_the_middle_and_only_there(clips: ProbeClips) -> None:
    crossed = 0
    for number in range(0, 24, 2):
        _, plan = clips.scene("front", number)
        pair = replace(
            plan.only(1),
            objects=plan.objects[1:],
            base_size=plan.base_size[1:],
            centre=plan.centre[1:],
            angle_deg=plan.angle_deg[1:],
            scale=plan.scale[1:],
            order=np.tile([0, 1], (FRAMES, 1)),
        )
        both = Truth(pair, clips.bank).amodal.all(0).sum((1, 2))
        assert both[0] == both[-1] == 0
        crossed += both[6:10].max() > 0
    assert crossed == 12


def test_what_is_hidden_at_the_end_is_behind_the_wall(clips: ProbeClips) -> None:
    for number in range(12):
        scene, plan = clips.scene("hidden", number)
        assert scene.wall is not None
        x0, y0, x1, y1 = ((edge + 0.5) * 64 / 224 for edge in scene.wall)
        mask = Truth(plan, clips.bank).amodal[1, -1]
        rows, columns = np.nonzero(mask)
        assert y0 - 1 <= rows.min()
        assert rows.max() <= y1
        assert x0 <= columns.min()
        assert columns.max() <= x1
        middle = (scene.wall[0] + scene.wall[2]) / 2
        across = (plan.centre[1, -1, 0] + 0.5) * 224 / 64 - 0.5 - middle
        assert across == pytest.approx(scene.labels["hidden"])


def test_objects_of_parts_are_disjoint_and_so_are_their_categories(bank: ObjectBank) -> None:
    shared = share_out(bank)
    for part in PARTS:
        rest = np.concatenate([shared[other] for other in PARTS if other != part])
        assert not set(shared[part]) & set(rest)
        assert not set(bank.category[shared[part]]) & set(bank.category[rest])
    assert sum(map(len, shared.values())) == len(bank)


def test_objects_are_drawn_as_the_bank_is_drawn_from(
    bank: ObjectBank, small_bank: ObjectBank, clips: ProbeClips
) -> None:
    both = open_bank(small_bank.path, bank.path)
    without = both.categories[3]
    weighted = draw_from(both, exclude=(without,), weights=(4.0, 1.0))
    assert weighted.draws is not None
    shared = share_out(weighted)
    names = {weighted.categories[weighted.category[n]] for part in PARTS for n in shared[part]}
    assert names == set(weighted.categories) - {without}
    objects = np.flatnonzero(weighted.draws.probability(len(weighted)))
    own = replace(clips, bank=weighted, objects=objects)
    drawn = [own.scene("direction", number)[1].objects for number in range(200)]
    of_first = weighted.origins[np.concatenate(drawn)] == 0
    assert of_first.mean() == pytest.approx(0.8, abs=0.08)
    assert {"weights", "exclude"} <= own.described.keys() - clips.described.keys()


def test_clips_are_those_of_their_number_alone(clips: ProbeClips) -> None:
    whole = np.concatenate([frames for frames, _ in clips.batches("direction", 6, 4)])
    for number in (5, 1):
        frames, labels = clips.render("direction", number)
        np.testing.assert_array_equal(frames, whole[number])
        assert labels == {"direction": number}
    other = replace(clips, seed=4).render("direction", 1)[0]
    assert not np.array_equal(other, whole[1])
