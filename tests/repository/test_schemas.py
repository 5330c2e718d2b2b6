"""Every JSON that is read has a schema, and every schema refuses in one line what it does not say.

Documents are changed at every place that their schema declares: another type, nothing, a field that
nobody knows, a number beyond its bounds. What is to be refused follows from the declared types.
"""

import ast
import json
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from annotated_types import Ge, GroupedMetadata, Gt, Le, Len, Lt
from smile_motion.bank import format as layout
from smile_motion.bank import format as stored_candidates
from smile_motion.bank import packing as pack
from smile_motion.bank import packing as packed_arrays
from smile_motion.bank.builder import shards
from smile_motion.bank.builder.build import MadeObject
from smile_motion.bank.candidates import categories
from smile_motion.bank.candidates import diffusers_folder as model_folders
from smile_motion.bank.candidates import refilter as filtering
from smile_motion.bank.candidates import store as candidate_store
from smile_motion.bank.candidates.segmenters import clipseg
from smile_motion.bank.candidates.types import Thresholds
from smile_motion.cli import render
from smile_motion.clips import clip as clip_files
from smile_motion.clips.options import ClipOptions
from smile_motion.errors import InputError
from smile_motion.export import base as formats
from smile_motion.export import coco, collection
from smile_motion.io import output_folders as folder_lock
from smile_motion.io.schema import read, read_record
from smile_motion.io.validators import Unknown
from smile_motion.motion import plan as plan_json
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.runtime import model_configs
from smile_motion.tokens import TokenGrid
from smile_train.checkpoints import configs
from smile_train.checkpoints import files as checkpoint
from smile_train.cli import pretrain
from smile_train.datasets import custom, diving48
from smile_train.datasets import ssv2 as something
from smile_train.evaluation import results
from smile_train.evaluation.figures import gains
from smile_train.models.config import STUDENTS
from smile_train.motion_probe.online import MeasuredMotion
from smile_train.teachers import clip
from smile_train.teachers import timm as timm_teacher
from smile_train.training import metrics_logger as report

HASH = "ab" * 32
CANDIDATE = {
    "category": "cat", "attempt": 3, "prompt": "a cat", "seed": 7, "unsafe": None,
    "masks": [{"segmenter": "isnet", "score": 21.5, "area_share": 0.3, "raw_max": 0.9}],
}  # fmt: skip
OBJECT = {
    "id": "cat/000003", "file_name": "images/cat/000003.png", "category": "cat", "sha256": HASH,
    "width": 30, "height": 40, "area_share": 0.5, "score": 21.5, "segmenter": "isnet",
    "prompt": "a cat",
}  # fmt: skip
GRID = asdict(TokenGrid())
STUDENT = asdict(STUDENTS["tiny"])
RUN: dict[str, Any] = {
    "precision": "fp32", "cpu_threads": 2, "out": "runs/x", "resume": False, "stop_at": None,
    "student_config": STUDENT, "grid": GRID, "trained_grid": GRID, "steps": 9, "steps_total": 9,
    "track": "none", "workers": 2, "save_every": 5, "classes": ["a"], "pretraining": {},
}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """A sound document and what reads it."""

    schema: Any
    """Declares it."""
    sound: Any
    """Its values."""
    unknown: Unknown = "keep"
    """What happens to fields that it does not name."""


DOCUMENTS: dict[str, Document] = {
    "plan": Document(
        plan_json._Plan,
        {
            "format": 1, "height": 64, "width": 64, "order": [[0], [0]],
            "objects": [{
                "id": "cat/1", "category": "cat", "sha256": HASH, "base_size": [8.0, 9.5],
                "centre": [[1.0, 2.0], [3, 4]], "angle_deg": [0.0, 1.5],
                "scale": [[1.0, 1.0], [1.0, 1.0]], "tint": [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]],
                "appearance_seed": 4,
            }],
        },
        "refuse",
    ),
    "clip": Document(
        clip_files._ClipJson,
        {"format": 1, "seed": 2, "epoch": 0, "index": 5, "background": {"kind": "noise"}},
    ),
    "bank card": Document(
        layout.BankCard,
        {"format": 1, "metadata_sha256": HASH, "source": "x", "categories": 3, "counts": {}},
    ),
    "object": Document(layout.ObjectRecord, OBJECT),
    "journal of objects": Document(MadeObject, OBJECT | {"number": 3}),
    "journal of candidates": Document(
        candidate_store.CandidateLine,
        CANDIDATE | {"sizes": {"a.png": 9}, "cut": {
            "segmenter": "isnet", "width": 9, "height": 8, "area_share": 0.5, "fingerprint": "ff",
            "sha256": HASH,
        }},
        "refuse",
    ),
    "candidate": Document(
        stored_candidates.CandidateRecord,
        CANDIDATE | {"id": "cat/3", "accepted": True, "segmenter": "isnet", "reason": None},
        "refuse",
    ),
    "category": Document(
        filtering._CategoryLine,
        {"category": "cat", "name": "cat", "definition": None, "sense": 1, "wanted": 2,
         "max_tries": 8, "tries": 4, "passed": 2, "accepted": 2},
        "refuse",
    ),
    "card of candidates": Document(
        filtering._JudgedCard,
        {"batch": 4, "thresholds": asdict(Thresholds()), "fill_holes": False,
         "segmenters": [{"name": "isnet", "kind": "onnx"}], "candidates_kept": True},
    ),
    "pack": Document(
        packed_arrays.PackHeader,
        {"version": 2, "metadata_sha256": HASH, "count": 3, "categories": ["cat"],
         "max_side_px": 256, "sha256": {"cover.npy": HASH}},
        "refuse",
    ),
    "what a pack was made from": Document(
        pack._MadeFrom, {"version": 2, "metadata_sha256": HASH}, "ignore"
    ),
    "shard card": Document(
        shards._ShardCard,
        {"shard": [0, 2], "settings": {}, "sha256": {"metadata.jsonl": HASH}, "timings": None},
        "refuse",
    ),
    "index": Document(collection.IndexLine, {"index": 3, "broken": {"3": ["torn"]}}),
    "COCO part": Document(
        coco._Annotations,
        {"objects": [{
            "category_id": 1, "segmentations": [{"size": [4, 4], "counts": "aa"}, None],
            "bboxes": [[0.0, 0.0, 2.0, 2.0], None], "areas": [4, None],
        }]},
        "refuse",
    ),
    "what an index says of a clip": Document(
        formats._Described,
        {"index": 1, "plan": {"objects": [{"id": "a", "category": "b"}], "order": [[0]]},
         "background": {"broken": ["torn"]}},
        "ignore",
    ),
    "settings of a rendering": Document(
        render.RenderSettings,
        {"format": "mp4", "background": "noise", "recipe": {}, "bank_sha256": HASH, "frames": 16,
         "size": 64, "seed": 0, "n": 3},
    ),
    "lock": Document(
        folder_lock._Holder,
        {"pid": 3, "host": "a", "since": "now", "command": "x", "array": None},
    ),
    "annotations": Document(
        categories._Annotations, {"categories": [{"name": "cat", "def": "a pet"}]}, "ignore"
    ),
    "pipeline": Document(model_folders._PipelineIndex, {"_class_name": "Pipeline"}),
    "shards of weights": Document(
        model_configs.ShardIndex, {"weight_map": {"a.weight": "model-1.safetensors"}}, "ignore"
    ),
    "CLIPSeg": Document(clipseg._Config, {"model_type": "clipseg"}, "ignore"),
    "manifest of a checkpoint": Document(
        checkpoint.Manifest, {"step": 3, "sha256": {"model.safetensors": HASH}}, "refuse"
    ),
    "run": Document(checkpoint.StoredConfig, RUN),
    "log": Document(report.LogEntry, {"step": 3}),
    "measures": Document(
        MeasuredMotion,
        {"step": 3, "direction_accuracy": 63.5, "direction_accuracy_untrained": 14.0},
    ),
    "results": Document(
        results.Results,
        {"protocol": "knn", "dataset": "ucf101", "split": "test", "samples": 3,
         "metrics": {"top1": 3.5}, "main_metric": "top1",
         "checkpoint": {"source": "x", "sha256": HASH}, "dataset_sha256": {"test": HASH},
         "partial": False, "ours": ["a"], "versions": {"torch": "2"}},
        "refuse",
    ),
    "classes": Document(
        gains._Classes,
        {"classes": ["a", "b"], "samples": [3, 0], "top1": [50.0, None]},
        "ignore",
    ),
    "head of a manifest": Document(
        custom._Head,
        {"name": "own", "split": "train", "classes": ["a"], "samples": 2, "partial": False},
        "refuse",
    ),
    "line of a manifest": Document(
        custom._Line,
        {"key": "a", "path": "a.mp4", "target": 3, "span": [0.0, 1.5, "s"]},
        "refuse",
    ),
    "labels": Document(dict[str, str | int], {"a": "1", "b": 2}, "ignore"),
    "Something-Something": Document(
        list[something._Video], [{"id": "7", "template": "[a]"}], "ignore"
    ),
    "Diving48": Document(list[diving48._Video], [{"vid_name": "a", "label": 3}], "ignore"),
    "own model": Document(
        configs.OwnSizes,
        {"student": STUDENT, "grid": GRID, "trained": GRID, "target_dim": 3, "classes": ["a"]},
        "ignore",
    ),
    "VideoMAE": Document(
        configs.VideoMAESizes,
        {"image_size": 64, "patch_size": [16, 16], "hidden_size": 48, "layer_norm_eps": 1e-6,
         "hidden_act": "gelu", "num_frames": 4, "id2label": {"0": "a"}},
        "ignore",
    ),
    "VideoMAE V2": Document(
        configs.VideoMAEv2Sizes,
        {"img_size": 64, "embed_dim": 48, "mlp_ratio": 4, "cos_attn": False, "init_values": 0.0},
        "ignore",
    ),
    "timm": Document(timm_teacher._Config, {"architecture": "vit"}, "ignore"),
    "CLIP's description": Document(
        clip._Description,
        {"heads": 4, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "refuse",
    ),
}  # fmt: skip
PROBES: tuple[Any, ...] = (None, True, 7, 2.5, "text", [{"no": 1}], {"no": [1]})
GONE = object()
Change = tuple[tuple[str | int, ...], Any]
"""A place, and what is put there; `GONE` takes it away."""


def _kinds(hint: Any) -> set[type]:
    """Python's types of the JSON that a declared type admits; empty: any."""
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        parts = [_kinds(part) for part in get_args(hint)]
        return set[type]().union(*parts) if all(parts) else set()
    if get_origin(hint) is Literal:
        return {type(value) for value in get_args(hint)}
    made = get_origin(hint) or hint
    if made is Any:
        return set()
    if made is float:
        return {int, float}
    if made in (list, tuple):
        return {list}
    if made is dict or (isinstance(made, type) and is_dataclass(made)):
        return {dict}
    return {str if made is Path else made}


def _metadata(hint: Any) -> Iterator[Any]:
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        if len(parts) == 1:
            yield from _metadata(parts[0])
    if get_origin(hint) is Annotated:
        for bound in get_args(hint)[1:]:
            yield from bound if isinstance(bound, GroupedMetadata) else [bound]


def _beyond(hint: Any, value: Any) -> Iterator[Any]:
    """Values that are just out of a type's bounds."""
    limit: Any
    for bound in _metadata(hint):
        match bound:
            case Ge(limit):
                yield limit - 1
            case Gt(limit):
                yield limit
            case Le(limit):
                yield limit + 1
            case Lt(limit):
                yield limit
            case Len(least, most):
                if least > 0:
                    yield value[: least - 1] if isinstance(value, str | list) else {}
                if most is not None and isinstance(value, str | list) and most < 1 << 16:
                    yield (value[:1] or "x") * (most + 1)


def _inner(hint: Any, value: Any) -> Any:
    """The part of a type that a value is of, without bounds."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            kinds = _kinds(part)
            if type(value) in kinds and value is not None:
                return _inner(part, value)
    return hint


def changes(hint: Any, value: Any, place: tuple[str | int, ...], closed: bool) -> Iterator[Change]:
    """Every change of a document, below a place, that its declared type does not admit."""
    kinds = _kinds(hint)
    if kinds:
        yield from ((place, probe) for probe in PROBES if type(probe) not in kinds)
    yield from ((place, other) for other in _beyond(hint, value))
    if get_origin(hint) is Literal:
        yield place, 99 if kinds == {int} else "none of them"
    hint = _inner(hint, value)
    made, parts = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        for field in fields(hint):
            name = field.name.removesuffix("_")
            if field.default is MISSING and field.default_factory is MISSING:
                yield (*place, name), GONE
            if name in value:
                yield from changes(hints[field.name], value[name], (*place, name), closed)
        if closed:
            yield (*place, "unheard_of"), 1
    elif made is dict:
        for name, entry in value.items():
            yield from changes(parts[1], entry, (*place, name), closed)
    elif made is list or (made is tuple and ... in parts):
        for number, entry in enumerate(value[:2]):
            yield from changes(parts[0], entry, (*place, number), closed)
    elif made is tuple:
        yield place, value[:-1]
        for number, (part, entry) in enumerate(zip(parts, value, strict=True)):
            yield from changes(part, entry, (*place, number), closed)


def changed(sound: Any, change: Change) -> Any:
    place, value = change
    if not place:
        return value
    document = json.loads(json.dumps(sound))
    part = document
    for step in place[:-1]:
        part = part[step]
    if value is GONE:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return document


def refusal(path: Path, document: Document, content: Any) -> str | None:
    """What is said of a file, as an instance and as values; None where it is read."""
    path.write_text(json.dumps(content), encoding="utf-8")
    said = set()
    for reader in (read, read_record):
        try:
            reader(path, document.schema, remedy="make it anew", unknown=document.unknown)
            said.add(None)
        except InputError as error:
            said.add(str(error))
    assert len(said) == 1, said
    return said.pop()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_refuses_in_one_line_what_it_does_not_declare(name: str, tmp_path: Path) -> None:
    document, path = DOCUMENTS[name], tmp_path / "document.json"
    read(path_of(path, document.sound), document.schema, remedy="", unknown=document.unknown)
    found = list(changes(document.schema, document.sound, (), document.unknown == "refuse"))
    assert len(found) >= 5
    for change in found:
        said = refusal(path, document, changed(document.sound, change))
        assert said is not None, f"{change} is accepted"
        assert "\n" not in said
        assert said.startswith(str(path))
        assert said.endswith("; make it anew")
        place = [str(step) for step in change[0] if isinstance(step, str)]
        assert all(step in said for step in place), (change, said)
        assert len(said) < len(str(path)) + 400


def path_of(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


PACKAGES = Path(__file__).parents[2] / "packages"
READERS = {
    "read", "read_record", "read_records", "parse", "parse_text", "parse_line", "parse_record",
    "read_json", "read_journal", "read_log", "take_fields",
}  # fmt: skip
"""Functions whose second argument is a schema, or whose first is, beside data."""
WALKED_ELSEWHERE = {"MotionRecipe", "Origin"}
"""Components: below, and in tests of backgrounds."""
DECODERS = {
    "schema.py": "the one reader",
    "validators.py": "its validators",
    "files.py": "the decoder that it uses",
    "guard.py": "calls of the explorer's page: every name of a file in them is looked for",
    "settings.py": "options of a run, which its schema then checks as it does those in YAML",
}
"""Modules that decode JSON from outside without a schema, and why."""


@cache
def _calls() -> list[tuple[Path, ast.Call, str]]:
    found = []
    for path in sorted(PACKAGES.glob("*/src/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found.append((path, node, ast.unparse(node.func)))
    return found


def test_no_module_decodes_json_beside_the_schemas() -> None:
    found = {
        path.name: f"{call.lineno}: {ast.unparse(call)[:80]}"
        for path, call, name in _calls()
        if (
            name in ("json.loads", "json.load", "parse_json", "TypeAdapter", "files.parse_json")
            and path.name not in DECODERS
            # Values of this process made plain, as they will be when they are read again.
            and not (call.args and "dump" in ast.unparse(call.args[0]))
        )
    }
    assert not found


def test_every_schema_is_walked_over() -> None:
    walked = set()
    for document in DOCUMENTS.values():
        inner = document.schema
        while get_args(inner):
            inner = get_args(inner)[-1]
        walked.add(getattr(inner, "__name__", ""))
    used = {
        argument.id
        for path, call, name in _calls()
        if name.rpartition(".")[2] in READERS and path.name != "schema.py"
        for argument in (leaf for part in call.args for leaf in ast.walk(part))
        if isinstance(argument, ast.Name) and argument.id.lstrip("_")[:1].isupper()
        and not argument.id.isupper()
    } - {"Annotated", "Any", "Path"}  # fmt: skip
    assert len(used) > 25
    assert used - walked - WALKED_ELSEWHERE == set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"motion_blur": 7}, "motion_blur is 7; expected an object"),
        ({"motion_blur": True}, "motion_blur is True; expected an object"),
        ({"objects": 2.5}, "objects is 2.5; expected a valid integer"),
        ({"objects": True}, "objects is True; expected a valid integer"),
        ({"objects": 256}, "objects is 256"),
        ({"path": {"kind": "KeyframeValues"}}, "path is of kind KeyframeValues; expected one of"),
        ({"path": {"range_px": 3}}, "path names no kind"),
        ({"transform": {"kind": "GaussianPath"}}, "transform is of kind GaussianPath"),
        ({"size": []}, "size is []; expected an object"),
        ({"whole_pixels": 1}, "whole_pixels is 1; expected a valid boolean"),
        ({"speed": 1}, "speed is an unknown field"),
    ],
)
def test_recipes_refuse_values_of_another_kind(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.json"
    sound = MotionRecipe.paper().to_json()
    read_recipe(path_of(path, sound))
    with pytest.raises(InputError) as caught:
        read_recipe(path_of(path, sound | change))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def read_recipe(path: Path) -> MotionRecipe:
    return ClipOptions(recipe_file=path).make_recipe()


def test_numbers_are_not_true_or_false_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    numbers = 0
    for document in DOCUMENTS.values():
        if "format" not in document.sound and "version" not in document.sound:
            continue
        name = "format" if "format" in document.sound else "version"
        if type(document.sound[name]) is int:
            said = refusal(path, document, document.sound | {name: True})
            assert said == f"{path}: {name} is True; expected a valid integer; make it anew"
            numbers += 1
    assert numbers >= 5


@pytest.mark.parametrize("torn", [b'{"ste', b'{"step": -1}\n', b'{"step": true}\n', b"7\n"])
def test_a_log_ends_before_its_first_damaged_line(torn: bytes, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 1, "loss": NaN}\n{"step": 2}\n' + torn)
    taken = report.MetricsLogger(tmp_path, 9, views=1, batch=1, epoch=1, processes=1)
    taken.restore(9)
    assert [entry["step"] for entry in taken.history] == [1, 2]
    assert len(log.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("torn", [b'{"step": 4, "dir', b'{"step": 4, "direction_accuracy": "?"}\n'])
def test_a_training_ends_by_what_its_whole_measures_say(torn: bytes, tmp_path: Path) -> None:
    assert pretrain._motion_line(tmp_path) == ""
    measures = tmp_path / "measures.jsonl"
    asked = (
        b'{"step": 2, "direction_accuracy": 63.4, "direction_accuracy_untrained": 14, '
        b'"growth_accuracy": 78, "growth_accuracy_untrained": 54}\n'
    )
    measures.write_bytes(b'{"step": 1, "direction_accuracy": 20.5}\n' + torn)
    assert pretrain._motion_line(tmp_path) == ""
    measures.write_bytes(asked + b'{"step": 3, "loss": NaN}\n' + torn)
    assert "direction of travel: 63 % (untrained 14 %," in pretrain._motion_line(tmp_path)
