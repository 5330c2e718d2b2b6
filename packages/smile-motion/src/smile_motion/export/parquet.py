"""Clips as Parquet files that Hugging Face `datasets` loads and streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from smile_motion.export.base import ClipShard, NumberedClip, Packed
from smile_motion.export.mp4 import encode_video
from smile_motion.export.png_folders import encode_ids

ROWS = 16
"""Clips per row group, the unit that a reader loads into memory."""


@dataclass(frozen=True, kw_only=True)
class Parquet(Packed):
    """`train-00000-of-00004.parquet` with a row per clip, and `README.md`, the data set card.

    Columns: `index`; `video`, the bytes of an mp4; `ids`, a PNG per frame; `objects` with `id`,
    `category`, and `boxes` and `visible_share` per frame; `json`, the plan and all truth.
    """

    needs: ClassVar[tuple[str, ...]] = ("datasets", "pyarrow")
    header: ClassVar[str] = """configs:
- config_name: default
  data_files:
  - split: train
    path: "*.parquet"
"""
    contents: ClassVar[str] = """A row of `*.parquet` is a clip.

| column | holds |
|---|---|
| `index` | number of the clip |
| `video` | mp4 |
| `ids` | an image per frame: slot + 1 of the visible object, 0 for the background |
| `objects` | per slot: `id`, `category`; per frame: `boxes` (x0, y0, x1, y1, pixel centers at integers; null where outside), `visible_share` |
| `json` | motion plan, background, full boxes and polygons |"""  # noqa: E501

    def file_name(self, shard: ClipShard) -> str:
        """Name of a shard's file, as on the hub."""
        return f"train-{shard.number:05d}-of-{shard.shards:05d}.parquet"

    def write_file(self, path: Path, clips: Iterator[NumberedClip]) -> None:
        """Write a shard's file, one row group at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = _features().arrow_schema
        # Videos and images are compressed already.
        with pq.ParquetWriter(path, schema, compression="none") as writer:
            rows: list[dict[str, Any]] = []
            for clip in clips:
                rows.append(self._row(clip))
                if len(rows) == ROWS:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                    rows.clear()
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))

    def read_clips(self, path: Path) -> list[bytes]:
        """Read the JSON column."""
        import pyarrow.parquet as pq

        rows = pq.read_table(path, columns=["json"]).column("json")
        return [str(row).encode() for row in rows.to_pylist()]

    def _row(self, clip: NumberedClip) -> dict[str, Any]:
        truth, name = clip.clip.truth, clip.name
        video = encode_video(clip.clip.frames, rate_hz=self.rate_hz, lossless=self.lossless)
        objects = []
        for slot, index in enumerate(clip.clip.plan.objects):
            record = truth.bank.record(int(index))
            boxes = truth.boxes[slot].astype(np.float32)
            objects.append(
                {
                    "id": record["id"],
                    "category": record["category"],
                    "boxes": [None if np.isnan(box).any() else box.tolist() for box in boxes],
                    "visible_share": truth.visible_share[slot].astype(np.float32).tolist(),
                }
            )
        return {
            "index": clip.index,
            "video": {"bytes": video, "path": f"{name}.mp4"},
            "ids": [
                {"bytes": encode_ids(ids), "path": f"{name}_{t:05d}.png"}
                for t, ids in enumerate(truth.ids)
            ],
            "objects": objects,
            "json": clip.json.decode(),
        }


def _features() -> Any:
    from datasets import Features, Image, List, Value, Video

    return Features(
        {
            "index": Value("int64"),
            "video": Video(),
            "ids": List(Image()),
            "objects": List(
                {
                    "id": Value("string"),
                    "category": Value("string"),
                    "boxes": List(List(Value("float32"))),
                    "visible_share": List(Value("float32")),
                }
            ),
            "json": Value("string"),
        }
    )
