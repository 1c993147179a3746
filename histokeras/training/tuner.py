"""Search by Optuna: the one file that knows it. What is tried depends on the seed alone.

Trial n is drawn by a sampler of its own, seeded by (seed, n), from the trials that ended before it:
a search that was killed and taken up again tries the same as one that was not.
"""

import contextlib
import functools
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from histokeras.errors import ConfigError, FeatureError, MissingError, OutputError
from histokeras.training.search_space import Params, Space, defaults

try:
    import optuna
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.exc import OperationalError, SQLAlchemyError
except ImportError as error:
    raise MissingError(
        "`histokeras tune` needs Optuna, which is not installed.",
        hint='pip install "histokeras[tune]"',
    ) from error

DONE, PRUNED, DIVERGED = "done", "pruned", "came apart"
"""States of a trial that has ended: came to its end; given up early; its loss was no number."""
RANDOM_TRIALS = 10
"""Trials that are drawn at random before TPE begins to learn from them."""
UNPRUNED_TRIALS = 5
"""Trials that are done before any is given up."""
_NAME = "tuning"
_PLACE, _SECONDS, _EPOCHS, _NOTE, _LOST = "place", "seconds", "epochs", "note", "lost"
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_TIMEOUT_S = 60

Report = Callable[[float, int], None]
"""Takes a step's figure (greater is better) and the epochs so far; raises :class:`Pruned`."""
Objective = Callable[[Params, Report], tuple[float, int]]
"""From what was chosen to the figure, finite, greater is better, and the number of epochs."""


class Pruned(Exception):
    """Raised through an objective whose trial is not worth its end."""


@dataclass(frozen=True)
class Trial:
    """One trial that has ended.

    Attributes:
        number: From 0, in the order in which they were drawn.
        state: ``done``, ``pruned`` or ``came apart``.
        value: The figure, greater is better; None unless ``done``.
        params: What was chosen.
        seconds: How long it took.
        epochs: Epochs that were trained, of all folds together.
        note: Why it came apart; "" otherwise.
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    seconds: float
    epochs: int
    note: str = ""


def best_of(trials: list[Trial]) -> Trial | None:
    """Return the best trial that is done; of equal ones the first, so that the default wins."""
    done = [trial for trial in trials if trial.value is not None]
    return max(done, key=lambda trial: (trial.value, -trial.number), default=None)


def search(
    path: Path,
    space: Space,
    objective: Objective,
    *,
    n_trials: int,
    seed: int,
    spared: int | None = None,
    on_trial: Callable[[list[Trial]], None] = lambda trials: None,
) -> list[Trial]:
    """Try parameters until ``n_trials`` have ended, those of earlier calls among them.

    Trial 0 takes the defaults. Trials that a killed process left unfinished are done again, with
    the same parameters and under the same number.

    Args:
        path: SQLite file of the search; its folder must exist. On a network file system without
            locks SQLite may refuse to work.
        space: What is chosen.
        objective: What is maximised.
        n_trials: In all.
        seed: Of the draws.
        spared: After so many steps, at least 1, a trial may be given up: if its best step so far
            lies below the median, over the trials that are done, at the same step. None to train
            each to its end.
        on_trial: Called with all trials when one has ended.

    Returns:
        All trials that have ended, by number.

    Raises:
        FeatureError: If the file is damaged.
        OutputError: If it cannot be written.
    """
    with _said(path), contextlib.closing(_opened(path)) as storage:
        study = optuna.create_study(
            storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True,
            pruner=_pruner(spared),
        )  # fmt: skip
        _give_up_lost(study, space)
        trials = _ended(study)
        while len(trials) < n_trials:
            place = len(trials)
            study.sampler = optuna.samplers.TPESampler(
                seed=_seed(seed, place), n_startup_trials=RANDOM_TRIALS, constant_liar=False
            )
            if not place and not study.get_trials(states=(TrialState.WAITING,)):
                study.enqueue_trial(defaults(space))
            _try(study, space, objective, place)
            trials = _ended(study)
            on_trial(trials)
    return trials


def _seed(seed: int, place: int) -> int:
    return int(np.random.SeedSequence((seed, place)).generate_state(1)[0])


def _pruner(spared: int | None) -> Any:
    if spared is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(UNPRUNED_TRIALS, n_warmup_steps=spared - 1)


class _Storage(optuna.storages.RDBStorage):
    """A storage that is closed."""

    def close(self) -> None:
        self.remove_session()
        self.engine.dispose()


def _opened(path: Path) -> _Storage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # By a function, for an address cannot hold every path: `?` would end it.
    connect = functools.partial(sqlite3.connect, path, timeout=_TIMEOUT_S, check_same_thread=False)
    return _Storage("sqlite:///tuning.db", engine_kwargs={"creator": connect})


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """Say what is wrong with the file of a search in words of ours."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, sqlite3.Error) as error:
        cause = error.__cause__ or error
        words = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        if isinstance(cause, (OperationalError, sqlite3.OperationalError)):
            raise OutputError(
                f"cannot write {path}: {words}.",
                hint="Check space and permissions, then run the same command to resume.",
            ) from error
        raise FeatureError(
            f"{path} is damaged: {words}.",
            code="TUNING_DAMAGED",
            hint="Give --overwrite to begin anew, or choose another folder.",
        ) from error


def _give_up_lost(study: optuna.Study, space: Space) -> None:
    """Mark trials that no process works on any more, and have the last one done again."""
    for lost in study.get_trials(states=(TrialState.RUNNING,)):
        study._storage.set_trial_user_attr(lost._trial_id, _LOST, True)
        study.tell(lost.number, state=TrialState.FAIL)
        waiting = study.get_trials(states=(TrialState.WAITING,))
        # Of one that was killed while it was drawn, the draw is repeated, by the same seed.
        if _is_whole(lost.params, space) and not waiting:
            study.enqueue_trial(lost.params)


def _is_whole(params: Params, space: Space) -> bool:
    return set(params) == {item.name for item in space if item.applies(params)}


def _try(study: optuna.Study, space: Space, objective: Objective, place: int) -> None:
    trial = study.ask()
    trial.set_user_attr(_PLACE, place)
    params = _drawn(trial, space)
    began, steps, epochs = time.monotonic(), 0, 0

    def report(figure: float, epochs_now: int) -> None:
        nonlocal steps, epochs
        trial.report(figure, steps)
        steps, epochs = steps + 1, epochs_now
        if trial.should_prune():
            raise Pruned

    value, note = None, ""
    try:
        value, epochs = objective(params, report)
    except Pruned:
        pass
    except ConfigError as error:
        if error.code != "DIVERGED":
            raise
        note = error.message
    facts = {_SECONDS: round(time.monotonic() - began, 3), _EPOCHS: epochs, _NOTE: note}
    for name, fact in facts.items():
        trial.set_user_attr(name, fact)
    if value is None:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, value)


def _drawn(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for item in space:
        if not item.applies(params):
            continue
        if item.values:
            params[item.name] = trial.suggest_categorical(item.name, item.values)
        else:
            assert item.low is not None
            assert item.high is not None
            params[item.name] = trial.suggest_float(item.name, item.low, item.high, log=True)
    return params


def _ended(study: optuna.Study) -> list[Trial]:
    return [_told(item) for item in study.get_trials(states=_ENDED)]


def _told(item: FrozenTrial) -> Trial:
    facts, done = item.user_attrs, item.state == TrialState.COMPLETE
    note = str(facts.get(_NOTE, ""))
    return Trial(
        number=int(facts[_PLACE]),
        state=DONE if done else DIVERGED if note else PRUNED,
        value=item.value if done else None,
        params=dict(item.params),
        seconds=float(facts.get(_SECONDS, 0)),
        epochs=int(facts.get(_EPOCHS, 0)),
        note=note,
    )
