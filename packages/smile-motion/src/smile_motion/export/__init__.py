"""Export clips in the formats of other tools, in collections that are divided into shards."""

from smile_motion.export.base import ClipShard, Format, NumberedClip
from smile_motion.export.coco import Coco
from smile_motion.export.collection import Collection, render_shard
from smile_motion.export.flow import FlowFiles
from smile_motion.export.mp4 import Videos
from smile_motion.export.parquet import Parquet
from smile_motion.export.png_folders import Frames
from smile_motion.export.tapvid import TapVid
from smile_motion.export.webdataset import WebDataset

__all__ = [
    "ClipShard",
    "Coco",
    "Collection",
    "FlowFiles",
    "Format",
    "Frames",
    "NumberedClip",
    "Parquet",
    "TapVid",
    "Videos",
    "WebDataset",
    "render_shard",
]
