"""Slides of patients, alone or in a folder a patient, with what was drawn on them."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

_SHOWN = 5


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
    patients = patients_by_slide(table, pseudonyms)
    slides = node_slides(
        [one for one in found if one.slide_id not in chosen.left_out],
        table=read_slide_table(table) if table is not None else {},
        patients=patients,
        pseudonyms=pseudonyms,
        nodes=arguments["drawn_nodes"],
        tumour=arguments["drawn_tumour"],
    )
    here = [one.slide_id if pseudonyms is None else pseudonyms.of(one.slide_id) for one in found]
    _say_absent(patients, {one.patient_id for one in slides}, here)
    left_out = chosen.outcomes()
    if pseudonyms is not None:
        left_out = [{**row, "slide": pseudonyms.of(row["slide"])} for row in left_out]
    return slides, left_out


def _say_absent(patients: Mapping[str, str], owners: set[str], found: Iterable[str]) -> None:
    """Tell on stderr which slides of these patients the table names and nobody gave."""
    from histokeras.cohort.ids import Matcher, canonical_patient, slide_stem

    owner = {slide_stem(name): canonical_patient(patient) for name, patient in patients.items()}
    matcher = Matcher(owner)
    here = {key for name in found for key in matcher.find(name)}
    absent = sorted(key for key in set(owner) - here if owner[key] and owner[key] in owners)
    if absent:
        shown = ", ".join(absent[:_SHOWN]) + (", ..." if len(absent) > _SHOWN else "")
        click.echo(
            f"Note: the slide table names {len(absent)} slide(s) of these patients that are not "
            f"here: {shown}. What lies on them does not count.",
            err=True,
        )
