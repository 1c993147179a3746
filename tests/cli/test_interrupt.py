"""Real processes that are killed and resume; two starts of TensorFlow each, so few of them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL

pytestmark = pytest.mark.real_workers


def start(lab: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "histokeras", "extract-features", str(lab / "slides"),
               "-o", str(out), *SMALL]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_first_file(process: subprocess.Popen[str], out: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(out.glob("features/[!.]*.h5")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_extraction_resumes_to_identical_files(
    lab: Path, feats: Path, tmp_path: Path, histokeras, number: signal.Signals
) -> None:
    process = start(lab, tmp_path)
    wait_for_first_file(process, tmp_path)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)

    expected = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    # A fast machine may have finished before the signal came.
    assert process.returncode in (expected, 0)
    if process.returncode in (130, 143):
        assert "run the same command to resume" in stderr
        assert not list(tmp_path.rglob("*.part*"))
    done = len(list(tmp_path.glob("features/[!.]*.h5")))

    resumed = histokeras("extract-features", lab / "slides", "-o", tmp_path, *SMALL)

    assert resumed.exit_code == 0, resumed.output
    assert f"{done} slide(s) are done and verified" in resumed.stderr
    for path in (feats / "features").iterdir():
        assert path.read_bytes() == (tmp_path / "features" / path.name).read_bytes()
