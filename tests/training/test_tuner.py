"""The mechanism of `tune`, with made objectives and without TensorFlow."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from histokeras.errors import ConfigError, FeatureError
from histokeras.training.search_space import Dimension, Params, Space, defaults, narrowed
from histokeras.training.tuner import DIVERGED, DONE, PRUNED, Report, Trial, best_of, search

SPACE: Space = (
    Dimension(name="head", default="a", about="", values=("a", "b")),
    Dimension(name="rate", default=1e-3, about="", low=1e-5, high=1e-1),
    Dimension(name="tiles", default=64, about="", values=(32, 64), only=("head", ("a",))),
    Dimension(name="bags", default=8, about="", values=(4, 8), only=("head", ("b",))),
)


def hill(params: Params, report: Report) -> tuple[float, int]:
    """A smooth hill: best at b and a rate of 1e-2."""
    value = (params["head"] == "b") - abs(math.log10(params["rate"]) + 2) / 10
    for epoch in range(4):
        report(value, epoch + 1)
    return value, 4


def what(trials: list[Trial]) -> list[object]:
    return [(t.number, t.state, t.value, t.params, t.epochs) for t in trials]


def test_a_search_that_is_killed_and_taken_up_tries_the_same_as_one_that_is_not(
    tmp_path: Path,
) -> None:
    whole = search(tmp_path / "whole.db", SPACE, hill, n_trials=14, seed=3, spared=2)
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.training.test_tuner import SPACE, hill, search\n"
        "calls = []\n"
        "def killed(params, report):\n"
        "    calls.append(params)\n"
        "    if len(calls) == 12:\n"
        "        report(0.5, 1)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return hill(params, report)\n"
        "search(Path(sys.argv[1]), SPACE, killed, n_trials=14, seed=3, spared=2)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "killed.db"],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    seen: list[Params] = []

    def counted(params: Params, report: Report) -> tuple[float, int]:
        seen.append(params)
        return hill(params, report)

    resumed = search(tmp_path / "killed.db", SPACE, counted, n_trials=14, seed=3, spared=2)

    assert what(resumed) == what(whole)
    assert {trial.state for trial in whole} == {DONE, PRUNED}
    # The 12th and the two after it; not one of those that had ended.
    assert seen == [trial.params for trial in whole[11:]]
    assert [t.number for t in whole] == list(range(14))


def test_more_trials_go_on_and_another_seed_tries_others(tmp_path: Path) -> None:
    at_once = search(tmp_path / "a.db", SPACE, hill, n_trials=13, seed=0)
    for n_trials in (1, 6, 13):
        in_parts = search(tmp_path / "b?#%.db", SPACE, hill, n_trials=n_trials, seed=0)
    other = search(tmp_path / "c.db", SPACE, hill, n_trials=4, seed=1)

    assert what(in_parts) == what(at_once)
    assert other[0].params == at_once[0].params == defaults(SPACE)
    assert other[1].params != at_once[1].params
    best = best_of(at_once)
    assert best is not None
    assert at_once[0].value is not None
    assert best.value == max(t.value for t in at_once if t.value is not None)
    assert best.value > at_once[0].value


def test_of_equal_trials_the_default_is_best(tmp_path: Path) -> None:
    trials = search(tmp_path / "a.db", SPACE, lambda params, report: (1.0, 1), n_trials=3, seed=0)

    best = best_of(trials)
    assert best is not None
    assert best.number == 0
    assert best_of([]) is None


def test_bad_trials_are_given_up_and_those_that_come_apart_are_said(tmp_path: Path) -> None:
    """Five trials are spared; then a step below the median of the others ends a trial."""
    calls: list[Params] = []

    def objective(params: Params, report: Report) -> tuple[float, int]:
        calls.append(params)
        n = len(calls)
        if n == 2:
            raise ConfigError("`loss` is nan.", code="DIVERGED")
        for epoch in range(9):
            report(0.1 if n == 8 else 0.8, epoch + 1)
        return 0.1 if n == 8 else 0.8, 9

    trials = search(tmp_path / "a.db", SPACE, objective, n_trials=8, seed=0, spared=3)
    states = [trial.state for trial in trials]

    assert states == [DONE, DIVERGED, DONE, DONE, DONE, DONE, DONE, PRUNED]
    # Steps 1 and 2 are spared, the third one is not.
    assert (trials[7].epochs, trials[7].value) == (3, None)
    assert trials[1].note == "`loss` is nan."
    calls.clear()
    kept = search(tmp_path / "b.db", SPACE, objective, n_trials=8, seed=0)
    assert kept[7].state == DONE


def test_an_error_of_the_objective_is_the_users_to_see_and_its_trial_is_done_again(
    tmp_path: Path,
) -> None:
    def broken(params: Params, report: Report) -> tuple[float, int]:
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        search(tmp_path / "a.db", SPACE, broken, n_trials=2, seed=0)
    trials = search(tmp_path / "a.db", SPACE, hill, n_trials=2, seed=0)

    assert [trial.number for trial in trials] == [0, 1]
    assert trials[0].params == defaults(SPACE)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database at all, and long enough to be read as one" * 9)

    with pytest.raises(FeatureError, match=r"a\.db is damaged.*--overwrite"):
        search(tmp_path / "a.db", SPACE, hill, n_trials=1, seed=0)


def test_the_user_narrows_and_fixes() -> None:
    narrow = narrowed(SPACE, ["rate=1e-2..5e-2", "tiles=16,128"], ["head=a"])

    assert [dimension.name for dimension in narrow] == ["head", "rate", "tiles"]
    # The nearest to the default, and the first where it is none of them.
    assert defaults(narrow) == {"head": "a", "rate": 1e-2, "tiles": 16}
    assert narrow[1].shown() == "0.01..0.05"
    assert defaults(narrowed(SPACE, [], ["head=b", "rate=0.5"])) == {
        "head": "b", "rate": 0.5, "bags": 8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "fixed", "message"),
    [
        (["rat=1..2"], [], "takes NAME=.* Did you mean 'rate'"),
        (["rate"], [], "takes NAME="),
        (["rate=2..1"], [], "first number must be below"),
        (["rate=a..1"], [], "'a' is no number above 0"),
        (["rate=-1..1"], [], "no number above 0"),
        (["head=a..b"], [], "is a choice among a,b"),
        (["head=c"], [], "is a choice among a,b"),
        (["tiles=1.5"], [], "no whole number"),
        (["head=a,a"], [], "names a value twice"),
        (["head=a"], ["head=a"], "given twice"),
        ([], ["head=a,b"], "takes one value"),
        (["bags=4"], ["head=a"], "`bags` applies to head b alone"),
    ],
)
def test_slips_of_the_user_are_said(settings: list[str], fixed: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        narrowed(SPACE, settings, fixed)
