"""Work on a real Ray cluster: two machines on loopback, token authentication on."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from smile_motion.bank import ObjectBank
from support import forked
from support.render_command import start, start_render, tree

HEAD, OTHER = "127.0.0.2", "127.0.0.3"


class Cluster:
    """A head and another node, each with a CPU; nothing of it outlives `close`."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []
        # Ray's sockets lie in it, whose paths must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": self.write_token("token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            # A machine that is gone is missed after seconds, whatever was under way with it. By
            # default a busy cluster can take minutes.
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "5000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_raylet_rpc_server_reconnect_timeout_max_s": "5",
            "RAY_core_worker_rpc_server_reconnect_timeout_max_s": "5",
        }
        with socket.socket() as free:
            free.bind((HEAD, 0))
            self.address = f"{HEAD}:{free.getsockname()[1]}"

    def start(self) -> None:
        """Start both machines and wait until they are ready."""
        port = self.address.partition(":")[2]
        self.head = self._start(
            "--head", f"--node-ip-address={HEAD}", f"--port={port}",
            "--include-dashboard=false", "--no-monitor",
            f"--temp-dir={self.folder}",
        )  # fmt: skip
        self.other = self._start(f"--address={self.address}", f"--node-ip-address={OTHER}")

    def write_token(self, name: str) -> str:
        """Write a new token; returns the file's path."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(secrets.token_hex(32))
        return str(path)

    def close(self) -> None:
        for process in self.started:
            kill_tree(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1",
                "--object-store-memory=80000000", "--include-log-monitor=false", *words,
            ],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        self.started.append(process)
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if "Ray runtime started" in line:
                return process
        raise AssertionError("".join(told))


def kill_tree(process: subprocess.Popen[str]) -> None:
    """Let a machine die: all its processes at once, without a farewell."""
    with contextlib.suppress(psutil.NoSuchProcess):
        tree_ = [psutil.Process(process.pid)]
        tree_ += tree_[0].children(recursive=True)
        for one in tree_:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(tree_, timeout=20)
    process.wait(timeout=20)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    machines = Cluster()
    try:
        machines.start()
        yield machines
    finally:
        machines.close()


def works(process: subprocess.Popen[str]) -> bool:
    """Whether a machine does a task at this moment."""
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "ray::_do_there" in " ".join(child.cmdline()):
                return True
    return False


@pytest.mark.slow
def test_a_cluster_builds_a_bank_in_shards(cluster: Cluster, tmp_path: Path) -> None:
    words = ["build-bank", "--source", "procedural", "--n", "40", "--out"]
    there = [
        tmp_path / "there", "--engine", "ray", "--address", cluster.address, "--num-shards", "3",
    ]  # fmt: skip
    built = start(*words, *there, environment=cluster.environment)
    assert start(*words, tmp_path / "here", "--workers", "0").wait(timeout=240) == 0
    out, err = built.communicate(timeout=240)
    assert built.returncode == 0, err
    assert "40 objects" in out
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


@pytest.mark.slow
def test_a_cluster_packs_videos(
    cluster: Cluster, real_videos: dict[str, Path], tmp_path: Path
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in real_videos.values()))
    words = ("data", "pack", listed, "--size=32", "--stride=25", "--videos-per-shard=1", "--out")
    there = (*words, tmp_path / "there", "--engine=ray", f"--address={cluster.address}")
    packed = forked.start("smile_train", there, environment=cluster.environment)
    alone = forked.start("smile_train", (*words, tmp_path / "here", "--workers=0"))
    for process in (packed, alone):
        out, err = process.communicate()
        assert process.wait() == 0, err
        assert "2 videos" in out
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


@pytest.mark.slow
def test_a_cluster_renders_the_same_bytes_though_a_machine_dies(
    cluster: Cluster, small_bank: ObjectBank, tmp_path: Path
) -> None:
    few = [
        "--bank", small_bank.path, "--size", "64", "--frames", "4",
        "--format", "webdataset", "--clips-per-shard", "5", "--n", "500",
    ]  # fmt: skip
    there = ["--engine", "ray", "--address", cluster.address]

    stranger = cluster.environment | {"RAY_AUTH_TOKEN_PATH": cluster.write_token("other")}
    refused = start_render(*few, *there, "--out", tmp_path / "refused", environment=stranger)

    out = tmp_path / "there"
    process = start_render(*few, *there, "--out", out, environment=cluster.environment)

    def is_under_way() -> bool:
        return len(list(out.glob("shard-*.tar"))) >= 4 and works(cluster.other)

    process.wait_for(is_under_way, every_s=0.002)
    kill_tree(cluster.other)
    assert process.poll() is None
    alone = start_render(*few, "--out", tmp_path / "here", "--workers", "0")
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert alone.wait(timeout=240) == 0
    assert len(tree(out)) == 100 + 3
    assert tree(out) == tree(tmp_path / "here")

    _, err = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert f"Ray at {cluster.address}: cannot connect" in err
    assert not list((tmp_path / "refused").glob("shard-*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "ray"], "takes --num-shards"),
        (["--engine", "ray", "--num-shards", "2", "--shard-index", "0"], "and no --shard-index"),
        (["--engine", "ray", "--num-shards", "2", "--source", "auto"], "needs --source"),
        (["--address", "127.0.0.1:9"], "--address has an effect only with --engine ray"),
    ],
)
def test_a_bank_on_a_cluster_needs_to_know_its_parts(
    words: list[str], message: str, tmp_path: Path
) -> None:
    process = start("build-bank", "--source", "procedural", "--out", tmp_path / "bank", *words)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in err
    assert not (tmp_path / "bank/bank.json").exists()
