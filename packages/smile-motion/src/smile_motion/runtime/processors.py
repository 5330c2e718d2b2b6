"""How many cores this process may use. Importable without torch."""

from __future__ import annotations

import math
import os
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows what containers may use."""
OWN_GROUPS = Path("/proc/self/cgroup")
"""Which of them this process is in."""


def available_cores() -> int:
    """Cores that this process may use: of the machine, its affinity, and its control group."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # Not on Linux.
        cores = os.cpu_count() or 1
    return max(1, min([cores, *_quotas(CONTROL_GROUPS, OWN_GROUPS)]))


def _quotas(root: Path, own: Path) -> list[int]:
    """Cores that the control groups of a process leave it, rounded up; nothing without a limit.

    root  of the control groups' file system.
    own   lists the process's groups: `0::/a/b` (version 2), `4:cpu,cpuacct:/a/b` (version 1).
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, names, place = line.split(":", 2)
        if number == "0":
            start, read = root, _quota_of_version_2
        elif "cpu" in names.split(","):
            start, read = root / "cpu", _quota_of_version_1
        else:
            continue
        # Within a container its own group may be the root, and its path that of outside.
        folder = start / place.strip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(start):
                break
            quota = read(group)
            if quota is not None:
                found.append(max(1, math.ceil(quota)))
    return found


def _quota_of_version_2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_of_version_1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return None if quota < 0 else quota / period
