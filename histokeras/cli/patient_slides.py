"""Slides of patients, alone or in a folder a patient, with what was drawn on them."""

from collections.abc import Iterable, Mapping
from typing import Any

import click


def slides_from(arguments: dict[str, Any]) -> tuple[list[Any], list[dict[str, str]]]:
    """Return the slides with their patients and drawings, and those that are not wanted.

    Args:
        arguments: Name to value of the options ``slides slide_table recursive pseudonyms
            diagnostic_only sample_types``, and of ``drawn_nodes`` and ``drawn_tumour``, the folders
            of drawn regions.

    Returns:
        A list of :class:`histokeras.report.lymph_job.NodeSlide`; and rows for run.json.

    Raises:
        HistokerasError: If slides, tables and drawings do not fit each other.
    """
    from histokeras.cli import cohort_text
    from histokeras.cli.slide_options import choice_from
    from histokeras.cohort.patient_folders import find_patient_slides
    from histokeras.cohort.pseudonyms import patients_by_slide, read_pseudonyms
    from histokeras.cohort.tcga import choose_slides
    from histokeras.report.lymph_inputs import node_slides
    from histokeras.slides.inventory import read_slide_table

    pseudonyms, table = read_pseudonyms(arguments["pseudonyms"]), arguments["slide_table"]
    found = find_patient_slides(arguments["slides"], recursive=arguments["recursive"])
    names = ("diagnostic_only", "sample_types")
    choice = choice_from(**{name: arguments[name] for name in names})
    chosen = choose_slides([one.slide_id for one in found], choice)
    cohort_text.say_left_out(chosen, len(found))
    rows = read_slide_table(table) if table is not None else {}
    if pseudonyms is None:
        _say_absent(rows, [one.slide_id for one in found])
    slides = node_slides(
        [one for one in found if one.slide_id not in chosen.left_out],
        table=rows,
        patients=patients_by_slide(table, pseudonyms),
        pseudonyms=pseudonyms,
        nodes=arguments["drawn_nodes"],
        tumour=arguments["drawn_tumour"],
    )
    left_out = chosen.outcomes()
    if pseudonyms is not None:
        left_out = [{**row, "slide": pseudonyms.of(row["slide"])} for row in left_out]
    return slides, left_out


def _say_absent(rows: Mapping[str, Any], slide_ids: Iterable[str]) -> None:
    """Tell of slides that the table names and nobody gave: a patient may be incomplete."""
    absent = sorted(set(rows) - set(slide_ids))
    if absent:
        click.echo(
            f"Note: {len(absent)} of {len(rows)} slide(s) of the slide table are not among SLIDES, "
            f"first {absent[0]!r}: nothing on them counts.",
            err=True,
        )
