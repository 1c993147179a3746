"""Search in a folder: trials, the best of them fitted once by the ordinary way, and the record.

Nothing here knows what is tuned: a command brings its space and its objective in a :class:`Search`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import ConfigError, OutputError
from histokeras.files import prepare_folder, remove, write_csv, write_json, write_text
from histokeras.runs.lease import Leases
from histokeras.runs.record import RunRecord, read_object, read_record, require_own_folder
from histokeras.runs.same import require_same_inputs
from histokeras.training.search_space import Params, Space, defaults
from histokeras.training.tuner import DIVERGED, DONE, PRUNED, Objective, Trial, best_of, search

DATABASE, TRIALS, SUMMARY, BEST, BEST_RUN = (
    "tuning.db", "trials.csv", "tuning.json", "best.toml", "best",
)  # fmt: skip
PAGE = "tuning.html"
OUTPUTS = (BEST_RUN, SUMMARY, TRIALS, BEST, PAGE, DATABASE, f"{DATABASE}-journal")
"""What the folder holds beside run.json; the page is written afterwards."""
OPTIMISTIC = (
    "figures of val are optimistic: the best of many trials was chosen by them; "
    "the test figure is what counts"
)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and how a trial and the best run are fitted.

    Attributes:
        command: Such as ``tune head``; whose folder it is.
        space: What is chosen.
        objective: Fits a trial on train and val, and returns its figure.
        figure: What the figure is called, such as "patient AUC of val".
        inputs: What decides the trials beside space and seed.
        options_of: From what was chosen to the options of ``fitter``, as best.toml has them.
        fitter: The command that fits one of them.
        fit_best: From what was chosen, the folder of the run, what its record keeps of the
            search, and whether what stands there is replaced, to the run; None if that very run
            stood there.
        seed: Of the draws.
        spared: Steps after which a bad trial may be given up; None for never. Who learns slowly is
            not bad: so many that one would stop by itself is a good number.
    """

    command: str
    space: Space
    objective: Objective
    figure: str
    inputs: Mapping[str, Any]
    options_of: Callable[[Params], Mapping[str, Any]]
    fitter: str
    fit_best: Callable[[Params, Path, Mapping[str, Any], bool], Any]
    seed: int = 0
    spared: int | None = None

    def all_inputs(self) -> dict[str, Any]:
        """Return what decides the trials."""
        space = {item.name: item.as_dict() for item in self.space}
        return {**self.inputs, "space": space, "spared": self.spared, "seed": self.seed}


@dataclass(frozen=True)
class Searched:
    """What a search gave.

    Attributes:
        trials: All that have ended.
        default: Trial 0.
        best: The best one.
        run: What :attr:`Search.fit_best` returned; None if it was not called, or the run stood
            there.
    """

    trials: list[Trial]
    default: Trial
    best: Trial
    run: Any = None


@contextmanager
def search_folder(folder: Path, command: str, *, overwrite: bool) -> Iterator[Path]:
    """Hold the folder of a search: two in one would count each other's trials as their own.

    Args:
        folder: The output folder; made if need be.
        command: Whose folder it is.
        overwrite: Whether what a search left there goes.

    Raises:
        ConfigError: If something else stands there, or another process is at work there.
        OutputError: If it cannot be written.
    """
    require_own_folder(folder, (command,), OUTPUTS)
    prepare_folder(folder)
    with Leases(folder) as leases:
        if not leases.claim("tune"):
            raise ConfigError(
                f"another process is at work on the search in {folder}.",
                code="FOLDER_BUSY",
                hint="Wait for it to end, or choose another output folder.",
            )
        if overwrite:
            remove(folder, (*OUTPUTS, "run.json"))
        yield folder


def run_search(
    what: Search,
    folder: Path,
    *,
    n_trials: int,
    config: Mapping[str, Any],
    command_line: str = "",
    fit_best: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Searched:
    """Search until ``n_trials`` have ended, then fit the best once, with its test figures.

    Args:
        what: What is searched.
        folder: The output folder, held by :func:`search_folder`.
        n_trials: In all, those of earlier calls among them.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        fit_best: Whether the best is fitted; without, more trials may follow.
        say: Called with a line for the user after each trial.

    Raises:
        FeatureError: If another search stands there (CONFIG_MISMATCH), or its file is damaged.
        ConfigError: If more trials are asked for after the test figures came out, or no trial came
            to its end.
        OutputError: If it cannot be written.
    """
    # As JSON has them: tuples are lists there.
    inputs = json.loads(json.dumps(what.all_inputs()))
    ended = require_same_inputs(folder, inputs)
    idle = ended and not _is_more(folder, n_trials, fit_best)
    record = RunRecord(what.command, config, command_line=command_line)
    record.facts = {"inputs": inputs, "figure": what.figure}
    if not idle:
        record.write(folder, status="running")
    try:
        result = _searched(what, folder, n_trials, fit_best, say)
    except BaseException:
        with suppress(OutputError):
            record.write(folder, status="interrupted")
        raise
    if not idle:
        record.facts["test_seen"] = _is_tested(folder)
        record.write(folder, status="done")
    return result


def _is_tested(folder: Path) -> bool:
    return (folder / BEST_RUN / "metrics.json").is_file()


def _is_more(folder: Path, n_trials: int, fit_best: bool) -> bool:
    """Tell whether anything is left to do in a folder.

    More trials are refused once the test figures are out: they would be chosen in their light.
    """
    n_done = int(read_object(folder / SUMMARY).get("n_trials", 0))
    tested = _is_tested(folder)
    if n_trials > n_done and tested:
        raise ConfigError(
            f"the search in {folder} ended after {n_done} trials, and the test figures of its best "
            "came out: patients are for testing once.",
            hint=f"Leave it at --trials {n_done}, or begin anew with --overwrite. Give "
            "--search-only where more trials may follow.",
        )
    return n_trials > n_done or (fit_best and not tested)


def _searched(
    what: Search, folder: Path, n_trials: int, fit_best: bool, say: Callable[[str], None]
) -> Searched:
    def on_trial(trials: list[Trial]) -> None:
        _write(what, folder, trials)
        say(_line(trials, n_trials))

    trials = search(
        folder / DATABASE,
        what.space,
        what.objective,
        n_trials=n_trials,
        seed=what.seed,
        spared=what.spared,
        on_trial=on_trial,
    )
    best = best_of(trials)
    if best is None:
        raise ConfigError(
            f"none of {len(trials)} trials came to its end: see {folder / TRIALS}.",
            hint="Narrow the learning rate with --set learning-rate=LOW..HIGH.",
        )
    # Also where a kill fell between a trial and its row.
    _write(what, folder, trials)
    run = None
    if fit_best:
        if not _is_tested(folder):
            say(f"The best, trial {best.number}, is fitted once more, and tested once.")
        anew = _is_other(folder, best)
        run = what.fit_best(best.params, folder / BEST_RUN, best_facts(what, trials, best), anew)
    return Searched(trials, trials[0], best, run)


def _is_other(folder: Path, best: Trial) -> bool:
    """Tell whether the fit of another trial was cut off there, before more were asked for."""
    known = read_record(folder / BEST_RUN).get("tuning", {}).get("trial", best.number)
    return bool(known != best.number)


def best_facts(what: Search, trials: list[Trial], best: Trial) -> dict[str, Any]:
    """Return what the record of the best run keeps of its search."""
    return {
        "command": what.command,
        "n_trials": len(trials),
        "trial": best.number,
        "figure": what.figure,
        "value": best.value,
        "default_value": trials[0].value,
        "seed": what.seed,
        "note": f"{OPTIMISTIC}; test patients took no part in the search and were looked at once, "
        "after it",
    }


def _line(trials: list[Trial], n_trials: int) -> str:
    trial, best = trials[-1], best_of(trials)
    value = f"{trial.value:.4f}" if trial.value is not None else trial.state
    known = f"best {best.value:.4f} (trial {best.number})" if best is not None else "none done yet"
    chosen = "  ".join(f"{name} {_shown(item)}" for name, item in trial.params.items())
    return f"trial {trial.number + 1}/{n_trials}  {value}  {known}  {chosen}"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _write(what: Search, folder: Path, trials: list[Trial]) -> None:
    names = [item.name for item in what.space]
    rows = [
        {
            "number": trial.number,
            "state": trial.state,
            "value": trial.value,
            **{name: trial.params.get(name) for name in names},
            "seconds": trial.seconds,
            "epochs": trial.epochs,
            "note": trial.note,
        }
        for trial in trials
    ]
    # As text: a batch of 64 tiles is none of 64.0 because another head has no such size.
    write_csv(folder / TRIALS, pd.DataFrame(rows, dtype=object))
    best = best_of(trials)
    if best is not None:
        write_text(folder / BEST, best_toml(what, best))
    write_json(folder / SUMMARY, _summary(what, trials, best))


def _summary(what: Search, trials: list[Trial], best: Trial | None) -> dict[str, Any]:
    states = [trial.state for trial in trials]
    return {
        "command": what.command,
        "figure": what.figure,
        "note": OPTIMISTIC,
        "n_trials": len(trials),
        "n": {state: states.count(state) for state in (DONE, PRUNED, DIVERGED)},
        "default": {"params": defaults(what.space), "value": trials[0].value},
        "best": None
        if best is None
        else {"number": best.number, "params": best.params, "value": best.value},
        "space": {item.name: item.as_dict() for item in what.space},
        "seed": what.seed,
    }


def best_toml(what: Search, best: Trial) -> str:
    """Return the options of the best trial, for ``--config`` of the command that fits it."""
    lines = [
        f"# Best of `histokeras {what.command}`: trial {best.number}, {what.figure} "
        f"{best.value:.4f}.",
        f"# Use: histokeras {what.fitter} ... --config best.toml",
        f"[{what.fitter}]",
    ]
    # JSON's numbers and strings are TOML's.
    options = what.options_of(best.params)
    return "\n".join(
        [*lines, *(f"{key} = {json.dumps(value)}" for key, value in options.items()), ""]
    )
