"""What commands say about a label table on stderr: level, funnel, and every row left out."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import click
import pandas as pd

from histokeras.cohort.hypoxia_labels import NOT_ASKED, HypoxiaLabels
from histokeras.cohort.join import format_funnel
from histokeras.cohort.labels import Cohort
from histokeras.cohort.tcga import Chosen, count_reasons, normal_tissue

MOST_LINES = 20
"""Rows listed one by one on the screen; outputs and ``--json`` hold them all."""
_MOST_WORDS = 8
_TOO_MANY = 0.2


def say_cohort(cohort: Cohort) -> None:
    """Say at which level the labels stand, and which rows were left out."""
    classes = f", classes {_listed(cohort.classes)}" if cohort.classes else ""
    click.echo(f"{len(cohort.table)} rows at {cohort.level} level{classes}", err=True)
    for note in cohort.notes:
        click.echo(note, err=True)
    if cohort.share_lost > _TOO_MANY:
        click.secho(
            f"Warning: {cohort.share_lost:.0%} of the rows have no label or no {cohort.key}; "
            "--strict makes this an error",
            fg="red",
            err=True,
        )
    lines = [f"row {row}: {name!r}: {why}" for row, name, why in cohort.dropped.to_numpy()]
    _say_lines(lines)


def say_joined(funnel: Mapping[str, int], dropped: pd.DataFrame) -> None:
    """Say how many patients each step left, and what was lost since ``say_cohort``."""
    click.echo(format_funnel(funnel), err=True)
    # Rows of the label table stand above already, with their numbers.
    lost = dropped[dropped["kind"] != "row"]
    _say_lines([f"{kind} {name!r}: {why}" for kind, name, why in lost.to_numpy()])


def say_left_out(chosen: Chosen, n_slides: int) -> None:
    """Say how many slides `--diagnostic-only` and `--sample-types` leave out, and why."""
    lost = chosen.left_out
    if lost:
        click.echo(f"{len(lost)} of {n_slides} slide(s) left out: {count_reasons(lost)}", err=True)
    for note in chosen.notes:
        click.echo(f"Note: {note}", err=True)


def say_normal(slides: Iterable[str]) -> None:
    """Say which predicted slides are of normal tissue: nobody asked for their tumour."""
    normal = [name for name in slides if normal_tissue(name)]
    if normal:
        click.echo(
            f"Note: {len(normal)} slide(s) of normal tissue count in patients.csv, first "
            f"{normal[0]!r}; --sample-types 01 leaves them out",
            err=True,
        )


def say_strata(strata: Mapping[str, pd.DataFrame]) -> None:
    """Say how many patients with each value stand on each side, one line a column."""
    for column, counts in strata.items():
        sides = [
            f"{side} {_listed([f'{value} {count}' for value, count in row.items()])}"
            for side, row in counts.iterrows()
        ]
        click.echo(f"{column}: {'; '.join(sides)}", err=True)


def say_sites(sites: Mapping[str, Any] | None) -> None:
    """Say how even the folds are that keep sites whole, and how near that is to the best."""
    if sites is None:
        return
    off, bound = sites["deviation"], sites["bound"]
    best = "proved the best" if off <= bound else f"no folds can be below {bound:g}"
    click.echo(
        f"{sites['n_sites']} sites (from {sites['from']}), none in two folds; distance from even "
        f"shares, summed over folds, classes and all: {off:g} patients, {best}",
        err=True,
    )


def say_hypoxia(labels: HypoxiaLabels) -> None:
    """Say the rule, the counts of each tumour type, and what was left out."""
    facts, rule = labels.facts, labels.fitted.rule
    types = f", tumour type from `{facts['type_column']}`" if facts["type_column"] else ""
    click.echo(f"rule {labels.rule}: score from `{facts['score_column']}`{types}", err=True)
    # Whole numbers without .0, and nothing where there is no one number.
    shown = labels.counts.astype(object).map(lambda x: "" if x != x else f"{x:g}")
    click.echo(shown.to_string(), err=True)
    if labels.counts["ties"].iloc[-1] and rule.ties == "zero":
        click.echo("ties are labelled non-hypoxic; --ties drop leaves them out", err=True)
    for note in labels.notes:
        click.echo(f"Note: {note}", err=True)
    lost = labels.dropped
    if len(lost):
        click.echo(f"{len(lost)} of {facts['rows']} rows left out: {labels.left_out()}", err=True)
    # What was not asked for is listed in the file alone.
    lost = lost[~lost["reason"].str.startswith(NOT_ASKED)]
    _say_lines([f"row {row}: {name!r}: {why}" for _, name, why, row in lost.to_numpy()])


def say_duplicates(table: pd.DataFrame, note: str) -> None:
    """Warn of slides and tiles that occur under two patients or on two sides of the split."""
    if note:
        click.echo(f"Near-duplicates: {note}", err=True)
    if table.empty:
        return
    counts = table["kind"].value_counts()
    words = [f"{counts[kind]} pair(s) of {kind}s" for kind in ("slide", "tile") if kind in counts]
    across = " and ".join(
        what for what in ("patients", "sides") if table["across"].str.contains(what).any()
    ).replace("sides", "sides of the split")
    click.secho(
        f"Warning: {' and '.join(words)} look the same across {across}: the figures may be too "
        "good; see duplicates.csv",
        fg="red",
        err=True,
    )
    _say_lines(
        [
            f"{row['how']}: {_place(row, 'a')} and {_place(row, 'b')}"
            for row in table.head(_MOST_WORDS).to_dict("records")
        ]
    )


def _place(row: Mapping[Hashable, object], end: str) -> str:
    name = row[f"tile_{end}"] or row[f"slide_{end}"]
    patient = f" of {row[f'patient_{end}']}" if row[f"patient_{end}"] else ""
    return f"{name}{patient} ({row[f'split_{end}']})"


def _listed(texts: Sequence[str]) -> str:
    more = f", ... and {len(texts) - _MOST_WORDS} more" if len(texts) > _MOST_WORDS else ""
    return ", ".join(texts[:_MOST_WORDS]) + more


def _say_lines(lines: list[str]) -> None:
    for line in lines[:MOST_LINES]:
        click.echo(f"  {line}", err=True)
    if len(lines) > MOST_LINES:
        click.echo(f"  ... and {len(lines) - MOST_LINES} more", err=True)
