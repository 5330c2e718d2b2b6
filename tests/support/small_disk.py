"""A program on a disk of its own that fills up, and that has more room when it starts again.

    python -m small_disk FOLDER SIZE -- smile_motion render … --out FOLDER/clips

Mounts a file system of SIZE kilobytes at FOLDER, for this process and its children alone; runs the
command; gives the disk room, and runs it again, with `--resume` if it trains. Each time, the exit
code, what is on the disk and what was said go to standard output, as a line of JSON.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from smile_motion.io.files import hash_file

NO_DISK = 77
"""Exit code where the system does not let this process mount anything."""
_NEW_USERS, _NEW_MOUNTS = 0x10000000, 0x00020000
_PRIVATE, _RECURSIVE, _AGAIN = 1 << 18, 1 << 14, 1 << 5
_system = ctypes.CDLL(None, use_errno=True)


def mount_own(folder: Path, size_kb: int) -> None:
    """Mount a small disk that nobody else sees; raises OSError where that is not allowed."""
    users, group = os.getuid(), os.getgid()
    if _system.unshare(_NEW_MOUNTS):
        _checked(_system.unshare(_NEW_USERS | _NEW_MOUNTS))
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {users} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _checked(_system.mount(None, b"/", None, _PRIVATE | _RECURSIVE, None))
    resize(folder, size_kb, flags=0)


def resize(folder: Path, size_kb: int, flags: int = _AGAIN) -> None:
    """Mount the disk, or change its size."""
    size = f"size={size_kb}k".encode()
    _checked(_system.mount(b"tmpfs", bytes(folder), b"tmpfs", flags, size))


def _checked(code: int) -> None:
    if code:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run(module: str, arguments: list[str]) -> tuple[int, str]:
    """Run `python -m module` in this process: exit code and what it said of errors."""
    sys.argv = [module, *arguments]
    said = io.StringIO()
    code: object = 0
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return code, said.getvalue()


def main() -> None:
    """Run the command twice."""
    folder, size_kb = Path(sys.argv[1]), int(sys.argv[2])
    module, *arguments = sys.argv[4:]
    try:
        mount_own(folder, size_kb)
    except OSError:
        sys.exit(NO_DISK)
    for again in ([], ["--resume"] if "pretrain" in arguments else []):
        code, said = run(module, [*arguments, *again])
        files = {
            path.relative_to(folder).as_posix(): hash_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        print(json.dumps({"code": code, "said": said, "files": files}))
        resize(folder, 1 << 20)


if __name__ == "__main__":
    main()
