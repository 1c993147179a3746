"""Damaged slides give a typed error, whatever is damaged: never a hang, never all the memory."""

import json
import os
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histokeras.slides.synthetic import paint_slide
from tests.bad_inputs.slide_files import write_ndpi, write_svs, write_tiff

_CHILD = Path(__file__).with_name("fuzz_child.py")
_ROOT = Path(__file__).parents[2]
_SECONDS, _MB = 60, 4096
_PAGE = 4096


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("originals")
    image = paint_slide(seed=1, size_px=(420, 340), tissue_share=0.7)
    write_svs(folder / "aperio.svs", image)
    write_ndpi(folder / "hamamatsu.ndpi", image)
    write_tiff(folder / "generic.tiff", image)
    write_tiff(folder / "big.btf", image, bigtiff=True)
    return sorted(folder.iterdir())


def mutant(data: bytes, rng: np.random.Generator) -> bytes:
    """Truncate, flip 1 to 64 bytes, or zero a page of 4 KB."""
    kind = rng.integers(3)
    if kind == 0:
        return data[: rng.integers(1, len(data))]
    changed = bytearray(data)
    if kind == 1:
        # Half of the flips hit header and directories, where the damage is worst.
        ends = np.r_[0:2048, len(data) - 2048 : len(data)]
        for _ in range(rng.integers(1, 65)):
            where = rng.choice(ends) if rng.random() < 0.5 else rng.integers(len(data))
            changed[where] = rng.integers(256)
    else:
        start = int(rng.integers(len(data)))
        stop = min(start + _PAGE, len(data))
        changed[start:stop] = bytes(stop - start)
    return bytes(changed)


class Child:
    """A process that opens slides; started again when it dies or hangs."""

    def __init__(self) -> None:
        self.deaths: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )
        return self._process

    def use(self, path: Path) -> dict[str, Any]:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            answered = selector.select(_SECONDS)
        line = process.stdout.readline() if answered else ""
        if line:
            return dict(json.loads(line))
        self.stop()
        outcome = f"DIED {process.returncode}" if answered else "HANGS"
        self.deaths.append(f"{path.name} {outcome}")
        return {"outcome": outcome, "seconds": 0.0 if answered else _SECONDS, "peak_mb": 0.0}

    def stop(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            if self._process.poll() is None:
                self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.stop()


@pytest.mark.parametrize("n", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_slides_give_a_typed_error(
    n: int, originals: list[Path], child: Child, tmp_path: Path
) -> None:
    counts: Counter[str] = Counter()
    slowest, peak, untyped = 0.0, 0.0, []
    for number in range(n):
        original = originals[number % len(originals)]
        path = tmp_path / f"m{number}{original.suffix}"
        path.write_bytes(mutant(original.read_bytes(), np.random.default_rng([7, number])))

        answer = child.use(path)

        counts[answer["outcome"].split(":")[0]] += 1
        slowest, peak = max(slowest, answer["seconds"]), max(peak, answer["peak_mb"])
        if answer["outcome"].startswith(("UNTYPED", "HANGS")):
            untyped.append(f"{path.name}: {answer['outcome']}")
        path.unlink()
    # Shown with `pytest -rP`, for the record.
    sys.stdout.write(f"{dict(counts)}; {child.deaths}; {peak:.0f} MB; {slowest:.2f} s\n")
    assert not untyped
    assert sum(counts.values()) == n
    assert counts["ok"] > 0
    assert peak < _MB
