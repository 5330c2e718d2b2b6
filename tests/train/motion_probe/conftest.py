"""A bank, and clips of a probe to learn from."""

import pytest
from smile_motion.bank import ObjectBank, ProceduralSource, build
from smile_train.motion_probe.clips import ProbeClips, Texture, share_out


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> ObjectBank:
    """Two objects of each of the procedural categories."""
    return build(ProceduralSource(count=60), tmp_path_factory.mktemp("probe") / "bank", workers=0)


@pytest.fixture(scope="session")
def clips(bank: ObjectBank) -> ProbeClips:
    """Small clips to learn from."""
    return ProbeClips(
        bank=bank,
        objects=share_out(bank)["learn"],
        backdrop=Texture(),
        part="learn",
        size=64,
        seed=3,
    )
