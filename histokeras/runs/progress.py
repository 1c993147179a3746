"""Progress on stderr: a bar on a terminal, a plain line a slide in a log."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm


class Progress:
    """Counts slides and tiles and says how fast they pass.

    Args:
        n_slides: How many slides there are to do.
        quiet: Say nothing (the Python API).
    """

    def __init__(self, n_slides: int, *, quiet: bool = False) -> None:
        self._n, self._done, self._tiles = n_slides, 0, 0
        self._quiet = quiet
        self._started = self._slide_started = time.monotonic()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            self._bar = tqdm(total=n_slides, unit="slide", file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def tiles(self, n: int) -> None:
        """Count ``n`` more tiles."""
        self._tiles += n
        if self._bar is not None:
            rate = self._tiles / max(time.monotonic() - self._started, 1e-6)
            self._bar.set_postfix_str(f"{rate:.1f} tiles/s")

    def note(self, text: str) -> None:
        """Say something that is no slide's end."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif not self._quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def slide(self, slide_id: str, outcome: str, detail: str = "") -> None:
        """Count one slide as over and say how it went."""
        self._done += 1
        text = f"[{self._done}/{self._n}] {slide_id}: {outcome}{', ' if detail else ''}{detail}"
        if self._bar is not None:
            self._bar.update(1)
            if outcome != "done":
                self._bar.write(text, file=sys.stderr)
        elif not self._quiet:
            elapsed = time.monotonic() - self._started
            left = elapsed / self._done * (self._n - self._done)
            rate = self._tiles / max(elapsed, 1e-6)
            pace = f" ({rate:.1f} tiles/s, {left:.0f} s left)" if self._tiles else ""
            sys.stderr.write(text + pace + "\n")
            sys.stderr.flush()
