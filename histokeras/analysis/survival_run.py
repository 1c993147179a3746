"""Ask survival of a study, and write what was found into a folder."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.analysis.survival import FEWEST_EVENTS, kaplan_meier
from histokeras.analysis.survival_compare import (
    CLINICAL,
    TABLE,
    compare_risks,
    complete_patients,
    tell_risks,
)
from histokeras.analysis.survival_cox import UNIVARIABLE, Hazards, fit_hazards, hazard_table
from histokeras.analysis.survival_groups import all_curves
from histokeras.analysis.survival_study import EVENT, TIME, SurvivalJob, SurvivalStudy
from histokeras.analysis.survival_words import ALL, RISK
from histokeras.errors import OutputError
from histokeras.files import prepare_folder, remove, write_csv, write_json
from histokeras.runs.record import RunRecord, read_object, require_own_folder
from histokeras.runs.same import require_same_inputs
from histokeras.types import FOLD, PATIENT_ID

COMMAND = "survival"
OUTPUTS = ("metrics.json", "cox.csv", "km.csv", "patients.csv", "dropped.csv", "report.html")
"""What the folder holds beside run.json; the page is drawn afterwards."""


def run_survival(
    job: SurvivalJob,
    study: SurvivalStudy,
    folder: Path,
    *,
    config: Mapping[str, Any],
    command_line: str = "",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Compute curves, hazard ratios and models, and write them.

    Args:
        job: What was asked.
        study: From :func:`~histokeras.analysis.survival_study.prepare_survival`.
        folder: The output folder.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.
        overwrite: Whether a result of other inputs may be replaced.

    Returns:
        The content of metrics.json; of an earlier run of the same inputs what stands there.

    Raises:
        FeatureError: If a result of other inputs stands there (CONFIG_MISMATCH).
        ConfigError: If something else stands in the folder.
        OutputError: If it cannot be written.
    """
    require_own_folder(folder, (COMMAND,), OUTPUTS)
    if not overwrite and require_same_inputs(folder, study.inputs):
        known = read_object(folder / OUTPUTS[0])
        if known and all((folder / name).is_file() for name in OUTPUTS[:-1]):
            return known
    prepare_folder(folder)
    remove(folder, OUTPUTS)
    record = RunRecord(COMMAND, config, command_line=command_line)
    record.facts = {"inputs": study.inputs, "funnel": study.funnel, "notes": list(study.notes)}
    record.write(folder, status="running")
    try:
        metrics = _computed(job, study, folder)
    except BaseException:
        with suppress(OutputError):
            record.write(folder, status="interrupted")
        raise
    record.write(folder, status="done")
    return metrics


def _computed(job: SurvivalJob, study: SurvivalStudy, folder: Path) -> dict[str, Any]:
    risks = tell_risks(study, cutoff=job.cutoff, seed=job.seed)
    compared = compare_risks(study, risks, n_resamples=job.n_resamples, seed=job.seed)
    curves, km, groups = all_curves(study, risks, job.cutoff)
    models = _hazards(study)
    # The reverse of the curve: how long patients were followed, had nobody had the event.
    followed = kaplan_meier(study.time, ~study.event).median
    metrics: dict[str, Any] = {
        "n": len(study.patients),
        "n_events": int(study.event.sum()),
        "few_events": int(study.event.sum()) < FEWEST_EVENTS,
        "time_unit": study.time_unit,
        "median_follow_up": followed,
        "longest": float(study.time.max()),
        "tested": study.tested,
        "cutoff": job.cutoff,
        "n_complete": int(complete_patients(study).sum()),
        "columns": {kind: list(names) for kind, names in study.columns.items()},
        "curves": curves,
        "models": [_told(item) for item in models],
        "compared": compared,
    }
    more: dict[str, Any] = {
        EVENT: study.event.astype(int), FOLD: _tested_in(study),
        **{f"{RISK}{item.name}": np.round(item.risk, 6) for item in risks if not item.problem},
        **{f"group_{name}": group for name, group in groups.items() if name != ALL},
    }  # fmt: skip
    patients = study.patients[[PATIENT_ID, TIME, EVENT]].assign(**more)
    write_csv(folder / "patients.csv", patients)
    write_csv(folder / "dropped.csv", study.left_out)
    write_csv(folder / "km.csv", km)
    write_csv(folder / "cox.csv", hazard_table(models))
    # The figures come last: with them there, the rest is there.
    write_json(folder / "metrics.json", metrics)
    return metrics


def _tested_in(study: SurvivalStudy) -> pd.Series:
    """Return the fold in which each patient is tested, "" for those that are only learned from."""
    fold = np.full(len(study.patients), "", object)
    for number, side in enumerate(study.sides):
        fold[side.test] = number
    return pd.Series(fold, index=study.patients.index)


def _hazards(study: SurvivalStudy) -> list[Hazards]:
    clinical, table = (study.columns.get(kind, ()) for kind in (CLINICAL, TABLE))
    every = dict.fromkeys((*clinical, *table))
    found = [fit_hazards(UNIVARIABLE, (name,), study.patients) for name in every]
    together = {CLINICAL: clinical, TABLE: table, f"{CLINICAL}+{TABLE}": (*clinical, *table)}
    for name, columns in together.items():
        parts = name.split("+")
        if len(columns) > 1 and all(study.columns.get(part) for part in parts):
            found.append(fit_hazards(name, columns, study.patients))
    return found


def _told(item: Hazards) -> dict[str, Any]:
    return {
        "model": item.model,
        "columns": list(item.columns),
        "n": item.fit.n,
        "n_events": item.fit.n_events,
        "log_likelihood": item.fit.log_likelihood,
        "problem": item.fit.problem,
        "notes": list(item.notes),
        "terms": [
            {"column": column, **term.as_json()}
            for column, term in zip(item.of_term, item.fit.terms, strict=True)
        ],
    }
