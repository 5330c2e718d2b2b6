"""Rendering on a torch device: the same plans, a whole batch at once.

Needs torch; on CUDA a Triton kernel paints, elsewhere plain torch operations.
"""

from smile_motion.render_device.records import Records
from smile_motion.render_device.renderer import DeviceClips, DeviceRecords, DeviceRenderer

__all__ = ["DeviceClips", "DeviceRecords", "DeviceRenderer", "Records"]
