"""Everything that needs a CUDA device, checked and measured there by one command.

    uv run python benchmarks/gpu.py [--out gpu] [--sections render step …] [--minutes 9]
    python3 benchmarks/gpu.py                 on a machine without uv: torch and the dependencies
                                              of both packages are enough, nothing is fetched

Each section is a process of its own with a time limit; what it finds is in OUT/SECTION.json as soon
as it is found, and what it says in OUT/SECTION.log. One that fails or takes too long is named in
the table, and the next one begins. OUT/figures.json has all of them. Where there is no CUDA device
the same sections run on the CPU with small models: that shows that they work, and no speed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [str(ROOT / "packages" / name / "src") for name in ("smile-motion", "smile-train")]
sys.path[:0] = SOURCES  # a machine to which only a copy of the tree was brought

import tyro  # noqa: E402
from gpu_figures import Figure, Place, record  # noqa: E402
from gpu_sections import SECTIONS  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

GRACE_S = 10
"""Seconds that a section has to end by itself when it is over its limit."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to run."""

    out: Path = Path("gpu")
    """Folder of the figures and logs."""
    sections: tuple[str, ...] = tuple(SECTIONS)
    """Which sections, in their order; the first are worth most."""
    minutes: float = 9.0
    """Sections that do not begin within this are left out, and said to be."""
    section: str | None = None
    """Run this one here, in this process."""


def run_section(name: str, options: Options, seconds: float) -> str:
    """Run a section in a process of its own; returns what went wrong, or nothing."""
    log = options.out / f"{name}.log"
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            [sys.executable, "-u", __file__, "--section", name, "--out", str(options.out)],
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([*SOURCES, *_python_path()])},
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
            # Asked first: pytest then says what has failed so far.
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
        finally:
            # Workers that are left go with it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code is None:
        return f"took more than {seconds:.0f} s"
    if code == 0:
        return ""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return f"{lines[-1] if lines else 'no output'} (exit code {code}; {log})"


def _python_path() -> list[str]:
    return [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]


def read_figures(path: Path) -> list[Figure]:
    """What a section has found, so far."""
    if not path.is_file():
        return []
    return [Figure(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def main(options: Options) -> int:
    """Run the sections, one after the other, and print the table."""
    options.out.mkdir(parents=True, exist_ok=True)
    if options.section is not None:
        place = Place.find(options.out.resolve())
        record(SECTIONS[options.section].measure(place), options.out / f"{options.section}.json")
        return 0
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        print(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    console = Console(width=120)
    table = Table("section", "figure", "value", "unit", "goal")
    table.columns[2].justify = "right"
    begun, found, failed = time.monotonic(), {}, {}
    for name in options.sections:
        left = 60 * options.minutes - (time.monotonic() - begun)
        (options.out / f"{name}.json").unlink(missing_ok=True)
        started = time.monotonic()
        wrong = (
            "not begun: no time left"
            if left <= 0
            else run_section(name, options, min(left, SECTIONS[name].limit_s))
        )
        seconds = time.monotonic() - started
        figures = read_figures(options.out / f"{name}.json")
        found[name] = {
            "seconds": seconds,
            "failure": wrong,
            "figures": [vars(figure) for figure in figures],
        }
        whole = json.dumps(found, indent=1)
        (options.out / "figures.json").write_text(whole, encoding="utf-8")
        console.print(f"{name}: {wrong or 'done'}, {seconds:.0f} s", highlight=False)
        for number, figure in enumerate(figures):
            table.add_row("" if number else name, *figure.shown())
        if wrong:
            failed[name] = wrong
            table.add_row("" if figures else name, "[red]FAILED", "", "", "")
        table.add_section()
    console.print(table)
    for name, wrong in failed.items():
        console.print(f"{name}: {wrong}", highlight=False, markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
