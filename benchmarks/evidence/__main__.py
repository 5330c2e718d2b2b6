"""The paper's ablations at small scale, by one command.

    python -m benchmarks.evidence --size cpu --table 7 4a 4g --teacher teachers/dinov2-s

What each arm reached is in benchmarks/evidence/results/SIZE.json as soon as it is judged.
"""

from __future__ import annotations

import sys

import tyro
from smile_motion.errors import InputError

from benchmarks.evidence.experiments import Options, main

if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except InputError as error:
        sys.exit(f"error: {error}")
