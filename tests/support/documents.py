"""A sound document of every kind of JSON that is read, with its schema."""

from dataclasses import asdict, dataclass
from typing import Any

from smile_motion.bank import format as bank_format
from smile_motion.bank import packing
from smile_motion.bank.builder import shards
from smile_motion.bank.builder.build import MadeObject
from smile_motion.bank.candidates import categories, diffusers_folder, refilter, store
from smile_motion.bank.candidates.segmenters import clipseg
from smile_motion.bank.candidates.types import Thresholds
from smile_motion.cli import render
from smile_motion.clips import clip as clips
from smile_motion.explore.state import Controls
from smile_motion.export import base, coco, collection
from smile_motion.io import output_folders
from smile_motion.io.validators import Unknown
from smile_motion.motion import plan_json
from smile_motion.runtime import model_configs
from smile_motion.tokens import TokenGrid
from smile_motion.video import shards as video_shards
from smile_train.checkpoints import configs
from smile_train.checkpoints import files as checkpoint
from smile_train.cli.data import pack
from smile_train.datasets import custom, diving48, ssv2
from smile_train.evaluation import results
from smile_train.evaluation.figures import gains
from smile_train.explore.scene import SceneControls
from smile_train.models.config import STUDENTS
from smile_train.motion_probe.online import MeasuredMotion
from smile_train.teachers import clip as clip_teacher
from smile_train.teachers import timm as timm_teacher
from smile_train.training import metrics_logger

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
            "camera": {
                "kind": "Camera", "scene": [80, 90], "centre": [[31.5, 31.5], [30.0, 33.5]],
                "angle_deg": [0.0, -1.5], "scale": [[1.0, 1.0], [1.25, 1.25]],
            },
        },
        "refuse",
    ),
    "clip": Document(
        clips._ClipJson,
        {"format": 1, "seed": 2, "epoch": 0, "index": 5, "background": {"kind": "noise"}},
    ),
    "controls of the encoder's page": Document(
        SceneControls,
        {
            "source": "moving", "seed": 3, "objects": 4, "stride": 2, "query": "token", "slice": 1,
            "row": 2, "column": 3,
        },
    ),
    "controls of the explorer": Document(
        Controls,
        {
            "recipe": "official", "objects": 3, "smallest_px": 20.5, "effects": ["motion-blur"],
            "path": "bounce", "frames": 8, "side": 112, "mask_ratio": 0.5, "compare": "paper",
        },
    ),
    "bank card": Document(
        bank_format.BankCard,
        {"format": 1, "metadata_sha256": HASH, "source": "x", "categories": 3, "counts": {}},
    ),
    "object": Document(bank_format.ObjectRecord, OBJECT),
    "journal of objects": Document(MadeObject, OBJECT | {"number": 3}),
    "journal of candidates": Document(
        store.CandidateLine,
        CANDIDATE | {"sizes": {"a.png": 9}, "cut": {
            "segmenter": "isnet", "width": 9, "height": 8, "area_share": 0.5, "fingerprint": "ff",
            "sha256": HASH,
        }},
        "refuse",
    ),
    "candidate": Document(
        bank_format.CandidateRecord,
        CANDIDATE | {"id": "cat/3", "accepted": True, "segmenter": "isnet", "reason": None},
        "refuse",
    ),
    "category": Document(
        refilter._CategoryLine,
        {"category": "cat", "name": "cat", "definition": None, "sense": 1, "wanted": 2,
         "max_tries": 8, "tries": 4, "passed": 2, "accepted": 2},
        "refuse",
    ),
    "card of candidates": Document(
        refilter._CandidateCard,
        {"batch": 4, "thresholds": asdict(Thresholds()), "fill_holes": False,
         "segmenters": [{"name": "isnet", "kind": "onnx"}], "candidates_kept": True},
    ),
    "pack": Document(
        packing.PackHeader,
        {"version": 2, "metadata_sha256": HASH, "count": 3, "categories": ["cat"],
         "max_side_px": 256, "sha256": {"cover.npy": HASH}},
        "refuse",
    ),
    "what a pack was made from": Document(
        packing._MadeFrom, {"version": 2, "metadata_sha256": HASH}, "ignore"
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
        base._Described,
        {"index": 1, "plan": {"objects": [{"id": "a", "category": "b"}], "order": [[0]]},
         "background": {"broken": ["torn"]}},
        "ignore",
    ),
    "settings of a rendering": Document(
        render.RenderSettings,
        {"format": "mp4", "background": "noise", "recipe": {}, "bank_sha256": HASH, "frames": 16,
         "size": 64, "seed": 0, "n": 3},
    ),
    "settings of packed videos": Document(pack.PackSettings, {"format": "packed videos"}),
    "packed video": Document(
        video_shards.PackedRecord,
        {"name": "a", "source": "a.mp4", "label": None, "codec": "h264", "group": 8, "frames": 9,
         "rate_hz": 25.0, "width": 64, "height": 48, "stride": 1, "psnr_db": 40.5, "start": 512,
         "bytes": 4096, "sha256": HASH, "extradata": "0164"},
        "ignore",
    ),
    "shard of packed videos": Document(video_shards._ShardLine, {"file": "a.tar", "bytes": 9}),
    "lock": Document(
        output_folders._Holder,
        {"pid": 3, "host": "a", "since": "now", "command": "x", "array": None},
    ),
    "annotations": Document(
        categories._Annotations, {"categories": [{"name": "cat", "def": "a pet"}]}, "ignore"
    ),
    "pipeline": Document(diffusers_folder._PipelineIndex, {"_class_name": "Pipeline"}),
    "shards of weights": Document(
        model_configs.ShardIndex, {"weight_map": {"a.weight": "model-1.safetensors"}}, "ignore"
    ),
    "CLIPSeg": Document(clipseg._Config, {"model_type": "clipseg"}, "ignore"),
    "manifest of a checkpoint": Document(
        checkpoint.Manifest, {"step": 3, "sha256": {"model.safetensors": HASH}}, "refuse"
    ),
    "run": Document(checkpoint.StoredConfig, RUN),
    "log": Document(metrics_logger.LogEntry, {"step": 3}),
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
        list[ssv2._Video], [{"id": "7", "template": "[a]"}], "ignore"
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
    "pixels of transformers": Document(
        configs.PixelSettings,
        {"do_rescale": True, "rescale_factor": 0.004, "offset": False, "do_normalize": True,
         "image_mean": 0.5, "image_std": [0.5, 0.5, 0.5]},
        "ignore",
    ),
    "timm": Document(timm_teacher._Config, {"architecture": "vit"}, "ignore"),
    "CLIP's description": Document(
        clip_teacher._Description,
        {"heads": 4, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "refuse",
    ),
}  # fmt: skip
