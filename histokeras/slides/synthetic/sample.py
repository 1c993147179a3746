"""One procedural slide to try things on, made at the first call."""

import functools
import os
import tempfile
from pathlib import Path

from histokeras import files
from histokeras.errors import OutputError
from histokeras.slides.synthetic.spec import SlideSpec
from histokeras.slides.synthetic.write import write_he_slide

_VERSION = 2
_SIZE_PX = (2048, 2048)


@functools.cache
def sample_slide() -> Path:
    """Return a small H&E-like slide with eight kinds of tissue, made on the spot and kept.

    Returns:
        Path of a pyramidal TIFF of 2048 x 2048 px at 0.5 um per pixel, in the user's cache folder,
        or in a temporary folder where that cannot be written to. No patient is real.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "histokeras"
    try:
        folder = files.prepare_folder(cache)
    except OutputError:
        folder = Path(tempfile.mkdtemp(prefix="histokeras-"))
    path = folder / f"sample-{_VERSION}.tiff"
    if not path.exists():
        write_he_slide(path, SlideSpec(seed=0, size_px=_SIZE_PX))
    return path
