import os
from pathlib import Path

import pytest

# One setting for every test process: quiet TensorFlow, no GPU probing messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides, tiles and weights; skips where there is none."""
    folder = os.environ.get("HISTOKERAS_REAL_DATA", "")
    if folder and Path(folder).is_dir():
        return Path(folder)
    reason = "HISTOKERAS_REAL_DATA names no folder with real slides, tiles and weights"
    if os.environ.get("HISTOKERAS_REAL_DATA_REQUIRED"):
        pytest.fail(reason)
    pytest.skip(reason)
