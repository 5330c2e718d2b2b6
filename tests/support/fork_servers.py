"""The process that a forked program's workers are forked from, forked as well.

A program starts it as a new Python, which imports for seconds what this one has imported already.
"""

import json
import os
import re
import signal
import socket
import traceback
from collections.abc import Sequence
from multiprocessing import forkserver, util
from typing import NoReturn

from smile_motion.runtime.signals import SIGNALS

MESSAGE_BYTES = 1 << 20
COMMAND = re.compile(r"from multiprocessing\.forkserver import main; main\(\d+, \d+, (.*)\)")


def offer() -> None:
    """Fork it, asleep; it becomes this process's server when that would start one, or ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = os.fork()
    if server == 0:
        ours.close()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until it is told which are
        _serve(theirs)
    theirs.close()
    start = util.spawnv_passfds

    def start_or_wake(path: bytes, arguments: Sequence[str], files: Sequence[int]) -> int:
        if ours.fileno() < 0 or COMMAND.fullmatch(arguments[-1]) is None:
            return start(path, arguments, files)
        told = {
            "command": arguments[-1],
            "environment": dict(os.environ),
            "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        }
        socket.send_fds(ours, [json.dumps(told).encode()], list(files))
        ours.close()
        return server

    util.spawnv_passfds = start_or_wake


def _serve(theirs: socket.socket) -> NoReturn:
    code = 1
    try:
        message, files, _, _ = socket.recv_fds(theirs, MESSAGE_BYTES, 2)
        theirs.close()
        if message:
            told = json.loads(message)
            os.environ.clear()
            os.environ.update(told["environment"])
            signal.pthread_sigmask(signal.SIG_SETMASK, told["blocked"])
            command = COMMAND.fullmatch(told["command"])
            assert command is not None
            listening, alive = files
            eval(f"main({listening}, {alive}, {command[1]})", {"main": forkserver.main})
        code = 0
    except SystemExit:
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
