"""The tables of a run of survival: the counterpart of those of ``tables``."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from histokeras.analysis.compare import IMAGE, asked_first
from histokeras.analysis.concordance import C_INDEX
from histokeras.analysis.risk_units import HIGH, LOW
from histokeras.report.risk_words import p_text
from histokeras.report.run_files import RunFiles, main_aggregation
from histokeras.report.tables import OPTIMISTIC, Cell, Table, level_caption
from histokeras.report.text import DASH, at, digits, interval, listed

_SIDES = {"train": "Training", "val": "Validation", "test": "Test"}


def risk_sides_table(run: RunFiles) -> Table | None:
    """Return how many patients and events lie on each side."""
    patients = run.tables["patients"]
    if not len(patients) or not {"split", "event", "time"} <= set(patients):
        return None
    rows: list[list[str | Cell]] = []
    for side, word in _SIDES.items():
        mine = patients[patients["split"] == side]
        if len(mine):
            times = pd.to_numeric(mine["time"], errors="coerce").astype(float)
            events = int((mine["event"] == "1").sum())
            rows.append([word, f"{len(mine):,}", f"{events:,}", digits(times.median()),
                         digits(times.max())])  # fmt: skip
    if not rows:
        return None
    head = ("Side", "Patients", "Events", "Median time", "Longest time")
    return Table("Patients with risks and their events, by side", head, rows)


def risk_figures_table(run: RunFiles) -> Table | None:
    """Return the figures of the tested patients."""
    if not run.main:
        return None
    groups = run.main.get("groups") or {}
    rows: list[list[str | Cell]] = [
        ["C-index", interval(run.figures.get(C_INDEX))],
        ["Hazard ratio of one SD of risk", interval(run.figures.get("hazard_ratio"))],
        ["Hazard ratio, high against low risk", interval(groups.get("hazard_ratio"))],
        ["Log-rank p, high against low risk", p_text(groups.get("p"))],
    ]
    notes = [
        "The cut between high and low risk is the median of the training patients, as is the SD: "
        "nothing was chosen on these patients."
    ]
    if at(run.record, "split", "folds"):
        notes.append(
            "Folds: each risk is that of the head that had not seen the patient, and only pairs of "
            "one fold are compared, because two heads have no common scale."
        )
    found = [run.main.get("note"), groups.get("note")]
    found += [at(run.figures, name, "note") for name in (C_INDEX, "hazard_ratio")]
    notes += [f"Note: {note}." for note in dict.fromkeys(found) if note]
    return Table(level_caption(run, "patient", run.main), ("Figure", "Risk"), rows, notes)


def risk_groups_table(run: RunFiles) -> Table | None:
    """Return how the patients of high and of low risk fared."""
    groups: Mapping[str, Any] = run.main.get("groups") or {}
    rows: list[list[str | Cell]] = [
        [
            f"{name.capitalize()} risk",
            f"{at(groups, name, 'n') or 0:,}",
            f"{at(groups, name, 'n_events') or 0:,}",
            digits(at(groups, name, "median")),
        ]
        for name in (HIGH, LOW)
        if name in groups
    ]
    if not rows:
        return None
    head = ("Group", "Patients", "Events", "Median survival")
    note = f"{DASH}: more than half of the group were followed without an event."
    missing = any(row[-1] == DASH for row in rows)
    return Table("Patients above and below the training median", head, rows,
                 [note] if missing else ())  # fmt: skip


def risk_other_sides_table(run: RunFiles) -> Table | None:
    """Return the C-index of the sides that the verdict does not speak of."""
    rows: list[list[str | Cell]] = []
    for side, levels in (at(run.metrics, "splits") or {}).items():
        values = levels.get("patient") or {}
        if side != run.split and values.get("evaluated"):
            cell = interval(main_aggregation(values).get(C_INDEX))
            rows.append([side, f"{values.get('n', 0):,}", f"{values.get('n_events', 0):,}", cell,
                         OPTIMISTIC.get(side, "")])  # fmt: skip
    if not rows:
        return None
    head = ("Side", "Patients", "Events", "C-index", "Mind")
    return Table("Other sides of the split, for comparison only", head, rows)


def risk_baseline_table(run: RunFiles) -> Table | None:
    """Return the C-index of the network and of each baseline, with the paired difference."""
    baselines: Mapping[str, Any] = run.main.get("baselines") or {}
    if not baselines:
        return None
    rows: list[list[str | Cell]] = [["This run", interval(run.figures.get(C_INDEX)), ""]]
    for name in asked_first(baselines):
        values = baselines[name]
        difference = at(values, "difference", C_INDEX)
        rows.append([str(values.get("title") or name), interval(values.get(C_INDEX)),
                     interval(difference, signed=True)])  # fmt: skip
    both = IMAGE in baselines
    others = "Each but the constant and the image alone" if both else "Each but the constant"
    notes = [
        f"{others} is a Cox model with a ridge penalty, fitted to the same training "
        "patients, its penalty chosen by folds of them. Difference: this run "
        "minus the baseline, on the same resamples of patients; an interval that holds 0 leaves "
        "open which is better."
    ]
    if both:
        notes.append(
            "This run learned from features and clinical columns. Image alone: the same head, "
            "trained on the same patients without the columns."
        )
    if taken := run.main.get("clinical_columns"):
        notes.append(f"Clinical columns: {listed([str(name) for name in taken])}.")
    head = ("Risk by", "C-index", "This run minus it")
    caption = "Beside each part alone, and what needs no network" if both else (
        "Beside what needs no network"
    )  # fmt: skip
    return Table(f"{caption}, test patients", head, rows, notes)
