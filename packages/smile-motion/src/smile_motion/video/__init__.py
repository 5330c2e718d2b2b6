"""Videos: searching, reading by exact frame number, and writing."""

from smile_motion.video.encoder import encode_animation, write_video
from smile_motion.video.frames import read_frames
from smile_motion.video.index import VideoIndex, index_video, open_index
from smile_motion.video.sources import SUFFIXES, ListedVideo, find_videos

__all__ = [
    "SUFFIXES",
    "ListedVideo",
    "VideoIndex",
    "encode_animation",
    "find_videos",
    "index_video",
    "open_index",
    "read_frames",
    "write_video",
]
