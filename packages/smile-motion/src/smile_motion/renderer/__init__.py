"""Rendering on a torch device: the same plans, a whole batch at once.

Needs torch; on CUDA a Triton kernel paints, elsewhere plain torch operations.
"""

try:
    import torch as torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rendering on a device needs torch; install it with: pip install 'smile-motion[torch]'",
        name="torch",
    ) from error

from smile_motion.renderer.device import DeviceClips, DeviceRecords, DeviceRenderer
from smile_motion.renderer.device_records import Records

__all__ = ["DeviceClips", "DeviceRecords", "DeviceRenderer", "Records"]
