import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from published import PublishedStatistics


@pytest.fixture(scope="session")
def published() -> PublishedStatistics:
    """What the published motion generator does."""
    return PublishedStatistics()
