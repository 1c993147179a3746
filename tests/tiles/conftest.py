from pathlib import Path

import pytest

from histokeras.slides.synthetic import write_slide


@pytest.fixture(scope="session")
def made_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A procedural slide of 1200 x 1000 px at 0.5 um per pixel, half of it tissue."""
    path = tmp_path_factory.mktemp("made") / "made.tiff"
    write_slide(path, seed=4, size_px=(1200, 1000), tissue_share=0.5, downsamples=(2, 4, 16))
    return path
