"""Open damaged slides, one after the other, in a process that may die. No TensorFlow here."""

import json
import resource
import sys
import time
from pathlib import Path

from histokeras.errors import SlideError
from histokeras.runs import supervisor
from histokeras.slides.inventory import describe_slides
from histokeras.slides.reader import open_slide
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.grid import TileSpec
from tests.thread_worker import launch_thread

MAX_BYTES = 4 << 30


def use(path: Path) -> str:
    """Do to a slide what the commands do; return ``ok`` or the code of the error."""
    describe_slides([path], default_mpp=0.5)
    try:
        with open_slide(path, default_mpp=0.5) as slide:
            slide.content_id()
            slide.thumbnail(64)
            tiles = cut_tiles(slide, TileSpec(size_px=64, mpp=slide.mpp), workers=2)
            for i in range(len(tiles)):
                tiles.image(i)
            slide.require_unchanged()
    except SlideError as error:
        return error.code
    return "ok"


def peak_mb() -> float:
    """Return the most memory that this process has held.

    ``ru_maxrss`` begins with what the process held that started it: a test run of several GB.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Answer each path on stdin with one line of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # This process itself is the one that may die.
    supervisor.launch = launch_thread
    for line in sys.stdin:
        started = time.perf_counter()
        try:
            outcome = use(Path(line.rstrip("\n")))
        except BaseException as error:
            outcome = f"UNTYPED {type(error).__name__}: {error}"
        answer = {
            "outcome": outcome,
            "seconds": time.perf_counter() - started,
            "peak_mb": peak_mb(),
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
