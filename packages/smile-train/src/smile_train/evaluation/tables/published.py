"""The paper's tables as data: what it measured, and which of our evaluations belongs beside it.

Numbers are those of SMILE (CVPR 2025) that this project has as facts, and those that its authors,
and SIGMA's, list beside their code; what is not known is left out.
Tables 4, 6 and 7 are known by their numbers; which the others are is inferred, and said with each.
"""

from __future__ import annotations

from collections.abc import Mapping

from smile_train.evaluation.results import Protocol
from smile_train.evaluation.severe import EXPERIMENTS, ExperimentName
from smile_train.evaluation.tables.schema import MEAN, Column, Row, Table

PAPER = "SMILE (CVPR 2025)"
INFERRED = "The paper's number of this table is inferred. "
_AUTHORS = "the list of models beside the code of SMILE's authors"
_SIGMA = "the list of models beside SIGMA's code, ViT-B pre-trained for 800 epochs"

OTHERS: dict[str, str] = {
    "videomaev2": "VideoMAE V2",
    "mgmae": "MGMAE",
    "sigma": "SIGMA",
    "mme": "MME",
    "mvd": "MVD",
    "omnimae": "OmniMAE",
    "clip": "CLIP",
    "umt": "UMT",
    "viclip": "ViCLIP",
    "smile-vit-b-1200": "SMILE, ViT-B, 1200 epochs",
    "smile-vit-b-ssv2": "SMILE, ViT-B, pre-trained on SSv2",
    "trackmae": "TrackMAE, its authors' weights",
    "trackmae-pixel": "TrackMAE, ViT-B, pixels",
    "trackmae-vit-l": "TrackMAE, ViT-L, pre-trained on K700",
    "trackmae-ssv2": "TrackMAE, ViT-B, pre-trained on SSv2",
    "scratch": "no pre-training",
}
"""Models that no preset trains; shown where a run is of one."""

MOVEMENTS = "movements"
"""Data set of `benchmarks/evidence`, as its results name it."""
_SMILE_S = "smile-vit-s"
_SMILE_B = "smile-vit-b"
_VIDEOMAE = "videomae-vit-b"
_TRACKMAE = "trackmae-vit-b"
_OF_TRACKMAE = ("trackmae", "trackmae-pixel", "trackmae-vit-l", "trackmae-ssv2")
_TRACKMAE_PAPER = "TrackMAE (CVPR 2026)"


def _models(
    published: Mapping[str, Mapping[str, float]], *others: str, sources: Mapping[str, str] = {}
) -> tuple[Row, ...]:
    """Rows of a comparison of models: VideoMAE, others, SMILE, TrackMAE, ours."""
    labels = {
        _VIDEOMAE: "VideoMAE, ViT-B",
        **{key: OTHERS[key] for key in others},
        _SMILE_S: "SMILE, ViT-S",
        _SMILE_B: "SMILE, ViT-B",
        **{key: OTHERS[key] for key in _LONGER},
        _TRACKMAE: "TrackMAE, ViT-B, CLIP",
        **{key: OTHERS[key] for key in _OF_TRACKMAE},
        "smile-track-vit-s": "SMILE with exact tracks, ViT-S (ours)",
        "smile-track-vit-b": "SMILE with exact tracks, ViT-B (ours)",
    }
    return tuple(
        Row(key=key, label=label, published=published[key], source=sources.get(key, ""))
        if key in published
        else Row(key=key, label=label)
        for key, label in labels.items()
    )


_LONGER = ("smile-vit-b-1200", "smile-vit-b-ssv2")
_TUNED: dict[str, tuple[float, float | None, str]] = {
    _VIDEOMAE: (69.6, 80.0, _SIGMA),
    "sigma": (70.9, 81.6, _SIGMA),
    _SMILE_S: (69.1, 79.5, f"{_AUTHORS}, pre-trained for 800 epochs"),
    _SMILE_B: (72.1, 83.1, ""),
    "smile-vit-b-1200": (72.4, 83.4, f"{_AUTHORS}, pre-trained for 800 + 400 epochs"),
    "smile-vit-b-ssv2": (72.5, None, f"{_AUTHORS}, pre-trained for 800 epochs"),
    _TRACKMAE: (72.8, 83.9, _TRACKMAE_PAPER),
    "trackmae-pixel": (70.1, 80.8, _TRACKMAE_PAPER),
    "trackmae-vit-l": (75.7, 86.7, _TRACKMAE_PAPER),
    "trackmae-ssv2": (72.5, None, _TRACKMAE_PAPER),
}
"""Top-1 of rows on SSv2 and on K400, and where they are published, if not in the paper."""
_TUNED_SOURCES = {key: source for key, (_, _, source) in _TUNED.items()}
_OTHER_MODELS = ("omnimae", "videomaev2", "mvd", "mgmae", "mme", "sigma")
_PROBES: tuple[Protocol, ...] = ("linear-sigma", "linear-strict")
_OF_SEVERE: tuple[ExperimentName, ...] = (
    *("ssv2", "gym99", "ucf-1000", "gym-1000", "fx-s1", "ub-s1", "ucf-rc", "charades"),
)
_SEVERE_OF_TRACKMAE = {
    _TRACKMAE: (72.8, 91.1, 86.7, 34.4, 59.0, 90.1, 0.170, 30.5),
    "trackmae-pixel": (70.3, 88.7, 79.8, 31.0, 41.6, 85.5, 0.162, 20.8),
}
_TRACKMAE_SOURCES: dict[str, str] = dict.fromkeys((_TRACKMAE, *_OF_TRACKMAE), _TRACKMAE_PAPER)
_LINEAR = {"k400": 56.2, "ucf": 83.8, "hmdb": 53.4, "ssv2": 23.7, "gym": 30.2, "epic": 34.4}

_ABLATION_COLUMNS = (
    Column(key="k400m", title="K400m", datasets=("k400m",)),
    Column(key="ssv2m", title="SSv2m", datasets=("ssv2m",)),
)
_MINI = (
    "Full fine-tuning of ViT-S, top-1. Runs belong here whose data set, or the manifest given as "
    "--subset, is called k400m or ssv2m."
)


def _severe(name: ExperimentName, title: str, drawn: str | None = None) -> Column:
    """One of the eight; `drawn` is how results name samples that were drawn, not listed."""
    metric = EXPERIMENTS[name].metric
    return Column(
        key=name,
        title=title,
        datasets=(name, drawn) if drawn else (name,),
        protocols=("finetune", "severe"),
        metric=metric,
        decimals=3 if metric == "mae" else 1,
        lower_is_better=metric == "mae",
    )


def _ablation(name: str, title: str, rows: Mapping[str, tuple[str, float, float]]) -> Table:
    return Table(
        name=name,
        title=title,
        columns=_ABLATION_COLUMNS,
        rows=tuple(
            Row(key=key, label=label, published={"k400m": k400m, "ssv2m": ssv2m})
            for key, (label, k400m, ssv2m) in rows.items()
        ),
        source=f"{PAPER}, {name.split(',')[0]}",
        note=_MINI,
    )


TABLES: tuple[Table, ...] = (
    Table(
        name="Table 1",
        title="Linear probing",
        columns=(
            Column(key="k400", title="K400", datasets=("k400",), protocols=_PROBES),
            Column(key="ucf", title="UCF-101", datasets=("ucf101",), protocols=_PROBES),
            Column(key="hmdb", title="HMDB-51", datasets=("hmdb51",), protocols=_PROBES),
            Column(key="ssv2", title="SSv2", datasets=("ssv2",), protocols=_PROBES),
            Column(key="gym", title="GYM", datasets=("gym99",), protocols=_PROBES),
            Column(
                key="epic",
                title="EPIC",
                datasets=("epic-verb", "epic-noun", "epic-action"),
                protocols=_PROBES,
            ),
        ),
        rows=_models(
            {
                _SMILE_B: _LINEAR,
                _TRACKMAE: {"k400": 55.2, "ssv2": 27.3},
                "trackmae-pixel": {"k400": 25.7, "ssv2": 23.6},
            },
            *_OTHER_MODELS,
            sources=_TRACKMAE_SOURCES,
        ),
        source=f"{PAPER}, linear probing",
        note=INFERRED
        + "Frozen encoder, top-1; the published protocol is SIGMA's (probe sigma). Which label "
        "of EPIC-Kitchens-100 the paper means is not known.",
    ),
    Table(
        name="Table 2",
        title="Full fine-tuning on Something-Something V2",
        columns=(Column(key="ssv2", title="SSv2", datasets=("ssv2",)),),
        rows=_models(
            {key: {"ssv2": ssv2} for key, (ssv2, _, _) in _TUNED.items()},
            *_OTHER_MODELS,
            sources=_TUNED_SOURCES,
        ),
        source=f"{PAPER}, full fine-tuning on SSv2",
        note=INFERRED + "Top-1, tested 2x3.",
    ),
    Table(
        name="Table 3",
        title="Full fine-tuning on Kinetics-400",
        columns=(Column(key="k400", title="K400", datasets=("k400",)),),
        rows=_models(
            {key: {"k400": k400} for key, (_, k400, _) in _TUNED.items() if k400},
            *_OTHER_MODELS,
            sources=_TUNED_SOURCES,
        ),
        source=f"{PAPER}, full fine-tuning on K400",
        note=INFERRED + "Top-1, tested 7x3.",
    ),
    _ablation(
        "Table 4",
        "What is reconstructed, with and without motion",
        {
            "table4-pixel": ("pixels, no motion", 66.0, 55.1),
            "table4-pixel-motion": ("pixels, motion", 68.1, 56.8),
            "table4-clip": ("CLIP features, no motion", 78.1, 60.2),
            "table4-clip-motion": ("CLIP features, motion", 78.9, 61.6),
        },
    ),
    _ablation(
        "Table 4b",
        "Teachers",
        {
            "table4b-mae": ("MAE", 77.6, 59.5),
            "table4b-dino": ("DINO", 77.6, 59.7),
            "table4b-dinov2": ("DINOv2", 77.8, 59.7),
            "table4-clip-motion": ("CLIP", 78.9, 61.6),
        },
    ),
    _ablation(
        "Table 4, transforms",
        "What changes along the path",
        {
            "table4-transform-none": ("place alone", 77.0, 60.8),
            "table4-transform-scaling": ("and scale", 78.4, 61.3),
            "table4-transform-rotation": ("and angle", 78.2, 61.4),
            "table4-transform-both": ("and both", 78.9, 61.6),
        },
    ),
    _ablation(
        "Table 4d",
        "Strategies",
        {
            "table4d-single": ("single", 78.9, 61.6),
            "table4d-mixed": ("mixed", 79.5, 62.2),
            "table4d-progressive": ("progressive", 79.8, 62.5),
        },
    ),
    _ablation(
        "Table 4e",
        "Mask ratios",
        {
            "table4e-ratio-95": ("0.95", 77.7, 60.4),
            "table4e-ratio-90": ("0.90", 78.9, 61.6),
            "table4e-ratio-80": ("0.80", 80.3, 62.0),
        },
    ),
    _ablation(
        "Table 4f",
        "Objects",
        {
            "table4f-objects-1": ("1", 78.6, 61.0),
            "table4f-objects-2": ("2", 78.9, 61.6),
            "table4f-objects-3": ("3", 78.6, 61.3),
        },
    ),
    _ablation(
        "Table 4, masking",
        "With and without trajectories",
        {
            "table4-masking-tube": ("tubes alone", 77.8, 60.7),
            "table4-masking-trajectory": ("along trajectories", 78.9, 61.6),
        },
    ),
    Table(
        name="Table 5",
        title="Models that learn from CLIP",
        columns=(
            Column(key="k400-linear", title="K400 linear", datasets=("k400",), protocols=_PROBES),
            Column(key="ssv2-linear", title="SSv2 linear", datasets=("ssv2",), protocols=_PROBES),
            Column(key="k400", title="K400 fine-tuned", datasets=("k400",)),
            Column(key="ssv2", title="SSv2 fine-tuned", datasets=("ssv2",)),
        ),
        rows=tuple(
            Row(key=key, label=label)
            for key, label in (
                *((key, OTHERS[key]) for key in ("clip", "viclip", "umt")),
                (_SMILE_S, "SMILE, ViT-S"),
                (_SMILE_B, "SMILE, ViT-B"),
            )
        ),
        note=INFERRED + "Its published numbers are not known here; its columns are ours.",
    ),
    Table(
        name="Table 6",
        title="SEVERE: domain, samples, granularity, task",
        columns=(
            _severe("ssv2", "SSv2"),
            _severe("gym99", "Gym99"),
            _severe("ucf-1000", "UCF-1000", "ucf101-10"),
            _severe("gym-1000", "GYM-1000", "gym99-11"),
            _severe("fx-s1", "FX-S1"),
            _severe("ub-s1", "UB-S1"),
            _severe("ucf-rc", "UCF-RC ↓"),
            _severe("charades", "Charades"),
            Column(key=MEAN, title="Mean", protocols=()),
        ),
        rows=_models(
            {
                _VIDEOMAE: {MEAN: 57.6},
                _SMILE_B: {MEAN: 67.9},
                **{
                    key: dict(zip(_OF_SEVERE, values, strict=True))
                    for key, values in _SEVERE_OF_TRACKMAE.items()
                },
            },
            *_OTHER_MODELS,
            sources=_TRACKMAE_SOURCES,
        ),
        source=f"{PAPER}, Table 6 (SEVERE)",
        note="Top-1; UCF-RC: relative mean absolute error of the count, less is better; Charades: "
        "mAP. The mean needs all eight, with UCF-RC as 100 (1 - error). Settings for "
        "transformers are published nowhere.",
    ),
    _ablation(
        "Table 7",
        "Learning without natural video",
        {
            "scratch": ("no pre-training", 39.7, 28.2),
            "table7-frame": ("a repeated frame", 54.0, 43.1),
            "table7-frame-motion": ("a repeated frame, motion", 63.6, 53.2),
            "table7-image": ("a repeated image", 52.1, 40.5),
            "table7-image-motion": ("a repeated image, motion", 60.1, 52.1),
            "table7-black-motion": ("black, motion", 59.2, 50.0),
            "table7-noise": ("noise, motion", 61.9, 51.2),
        },
    ),
    Table(
        name="Figure 4",
        title="Similarity of frames' features to the first frame's",
        columns=tuple(
            Column(
                key=metric,
                title=title,
                protocols=("similarity",),
                metric=metric,
                decimals=2,
                lower_is_better=None,
            )
            for metric, title in (("second", "from"), ("last", "to"))
        ),
        rows=_models(
            {_SMILE_B: {"second": 0.66, "last": 0.47}}, *_OTHER_MODELS, "clip", "viclip", "umt"
        ),
        source=f"{PAPER}, Figure 4",
        note="Cosine similarity at the second and the last time slice. Which videos the paper "
        "shows is not known.",
    ),
    Table(
        name="Evidence",
        title="Labelled movements, at small scale",
        columns=(
            Column(key="finetune", title="fine-tuned", datasets=(MOVEMENTS,)),
            Column(
                key="strict",
                title="strict probe",
                datasets=(MOVEMENTS,),
                protocols=("linear-strict",),
            ),
        ),
        rows=(),
        note="Runs of benchmarks/evidence: top-1, a number for each seed.",
    ),
)
"""Tables in the paper's order, then ours."""

ROWS: frozenset[str] = frozenset(row.key for table in TABLES for row in table.rows)
"""All that a run can be a row of."""
