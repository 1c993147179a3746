"""The pages of ``histokeras lymph-nodes``: one of all patients, and one of each."""

import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import ConfigError
from histokeras.files import prepare_folder, remove, safe_name
from histokeras.report import tables
from histokeras.report.html import render, require_own_page, require_own_run_folder, write_page
from histokeras.report.lymph_files import KIND, LymphFiles, read_lymph, records
from histokeras.report.lymph_numbers import area_text, share_text
from histokeras.report.lymph_patient import patient_content
from histokeras.report.lymph_told import (
    cautions,
    cutoff_text,
    failed_table,
    headline,
    rules_table,
    sentences,
    stage_text,
    stages_table,
)
from histokeras.report.page_files import files_table, started
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, at, is_number, plural
from histokeras.types import PATIENT_ID, SLIDE_ID

FOLDER = "patients"
_MOST_ROWS = 1000
_METHODS = (
    "Nodes are areas of the overview, tumour is what lies above the threshold inside them; areas "
    "are counts of pixels of the overview times the area of one. T/MLN (mean) is the arithmetic "
    "mean of tumour area by node area over the metastatic nodes of a patient, on all slides; "
    "T/MLN (pooled) the sum of their tumour areas by the sum of their areas; T/LN (pooled) the "
    "same over all nodes. No figure here has a confidence interval: how well nodes and tumour are "
    "found is told by `histokeras evaluate` against drawn truth."
)


def write_lymph_pages(folder: Path, page: Path | None = None) -> Path:
    """Write the page of a folder of lymph nodes and, beside it, the page of each patient.

    The pages need no script and ask for nothing.

    Args:
        folder: What ``lymph-nodes -o`` was given.
        page: The page; ``report.html`` in the folder if None. Patients' pages go to ``patients/``
            beside it, of a page ``x.html`` to ``x_patients/``.

    Returns:
        The page.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
        TableError: If a table of it cannot be read.
        ConfigError: If ``page`` or a patient's page is of other origin.
        OutputError: If one cannot be written.
    """
    page = page or folder / "report.html"
    require_own_page(page)
    require_own_run_folder(page, folder)
    run = read_lymph(folder)
    pages = {
        str(patient): _patients_folder(page) / f"{safe_name(str(patient))}.html"
        for patient in run.patients[PATIENT_ID]
    }
    for path in pages.values():
        require_own_page(path)
    _remove_others(_patients_folder(page), [path.name for path in pages.values()])
    linked = page.parent.resolve() == folder.resolve()
    rows = {str(row[PATIENT_ID]): row for row in records(run.patients)}
    for patient, path in pages.items():
        prepare_folder(path.parent)
        content = patient_content(
            run, rows[patient], back=f"../{_quoted(page.name)}", linked=linked
        )
        write_page(path, render("lymph_patient.html.j2", **content), [])
    write_page(page, render("lymph.html.j2", **_content(run, pages, linked=linked)), [])
    return page


def _patients_folder(page: Path) -> Path:
    # Pages of several folders may lie in one place, and have patients of the same names.
    name = FOLDER if page.stem == "report" else f"{page.stem}_{FOLDER}"
    return page.parent / name


def told_lymph(folder: Path) -> tuple[str, list[Table]]:
    """Return what another page says of a folder of lymph nodes: one line, and the N stages.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or a file is damaged.
        TableError: If a table of it cannot be read.
    """
    run = read_lymph(folder)
    stages = stages_table(run.patients)
    return headline(run), [] if stages is None else [stages]


def _remove_others(folder: Path, wanted: Sequence[str]) -> None:
    """Remove our pages of patients who are no longer there; what is not ours stays."""
    for path in sorted(folder.glob("*.html")):
        if path.name in wanted:
            continue
        try:
            require_own_page(path)
        except ConfigError:
            continue
        remove(folder, [path.name])


def _content(run: LymphFiles, pages: Mapping[str, Path], *, linked: bool) -> dict[str, Any]:
    return {
        "title": run.name,
        "subtitle": _subtitle(run),
        "headline": headline(run),
        "sentences": [*sentences(run), *filter(None, [cutoff_text(run)])],
        "cautions": cautions(run),
        "stages": stages_table(run.patients),
        "groups": _groups(run.patients),
        "rows": _patients_table(run, pages),
        "rules": rules_table(run.settings),
        "slides": _slides_table(run, linked=linked),
        "failed": failed_table(run),
        "methods": _METHODS,
        "command": run.record.get("command_line", ""),
        "settings": [
            tables.settings_table("Options of the command", at(run.record, "config")),
            tables.settings_table("Versions", run.record.get("versions")),
            tables.settings_table("Hardware", run.record.get("hardware")),
        ],
        "files": files_table(run.folder, KIND),
    }


def _subtitle(run: LymphFiles) -> str:
    counts = ["Lymph nodes"]
    if len(run.patients):
        counts.append(plural(len(run.patients), "patient"))
    counts.append(plural(len(run.slides), "slide"))
    return " · ".join(filter(None, [*counts, started(run.record)]))


def _groups(patients: pd.DataFrame) -> Table | None:
    if "group" not in patients or patients.empty:
        return None
    counts = patients["group"].replace("", "not known").value_counts()
    rows = [[str(name), f"{int(n):,}"] for name, n in counts.items()]
    return Table("Groups by the cut-off", ("Group", "Patients"), rows)


def _patients_table(run: LymphFiles, pages: Mapping[str, Path]) -> Table | None:
    """Return one row a patient, the highest T/MLN first, then those without metastasis."""
    if run.patients.empty:
        return None
    order = run.patients.sort_values(
        ["T_MLN_mean", "n_nodes", PATIENT_ID], ascending=[False, False, True], kind="stable"
    )
    grouped = "group" in order
    rows: list[list[str | Cell]] = []
    for row in records(order.head(_MOST_ROWS)):
        patient = str(row[PATIENT_ID])
        rows.append([
            Cell(patient, link="/".join(map(_quoted, pages[patient].parts[-2:]))),
            stage_text(row), f"{row['n_mln']:,}", f"{row['n_nodes']:,}",
            _bar(row["T_MLN_mean"]), share_text(row["T_MLN_pooled"]),
            share_text(row["T_LN_pooled"]), area_text(row["tumour_area_mm2"]),
            *([str(row["group"]) or DASH] if grouped else []),
            str(row["flags"]),
        ])  # fmt: skip
    notes = ["A dash: the patient has no metastatic node, or no node at all."]
    if len(order) > _MOST_ROWS:
        notes.append(f"The first {_MOST_ROWS:,} of {len(order):,}: all stand in patients.csv.")
    head = ("Patient", "pN", "Metastatic", "Nodes", "T/MLN mean %", "T/MLN pooled %",
            "T/LN pooled %", "Tumour mm²", *(["Group"] if grouped else []),
            "To be known")  # fmt: skip
    return Table("By T/MLN, the highest first", head, rows, notes, css="plain flagged")


def _bar(share: Any) -> str | Cell:
    return Cell(share_text(share), bar=float(share)) if is_number(share) else DASH


def _slides_table(run: LymphFiles, *, linked: bool) -> Table:
    named = bool((run.slides[PATIENT_ID] != "").any())
    rows: list[list[str | Cell]] = []
    for row in records(run.slides.head(_MOST_ROWS)):
        slide, done = str(row[SLIDE_ID]), row["outcome"] == "done"
        picture = run.picture(slide) if linked and done else None
        link = "" if picture is None else _quoted(picture.name)
        rows.append([
            Cell(slide, link=link), *([str(row[PATIENT_ID])] if named else []),
            str(row["outcome"]), *(_count(row, name, done) for name in _COUNTS), _never_read(row),
        ])  # fmt: skip
    read = "share_not_read" in run.slides and run.slides["share_not_read"].notna().any()
    notes = ["Never read: share of the slide's tiles that lie in no node."] if read else []
    if len(run.slides) > _MOST_ROWS:
        notes.append(f"The first {_MOST_ROWS:,} of {len(run.slides):,}: all stand in slides.csv.")
    head = ("Slide", *(["Patient"] if named else []), "Outcome", "Nodes", "Metastatic",
            "Too small", "Never read")  # fmt: skip
    return Table("Every slide", head, rows, notes)


_COUNTS = ("n_nodes", "n_metastatic", "n_dropped")


def _count(row: Mapping[str, Any], name: str, done: bool) -> str:
    return f"{row[name]:,}" if done and is_number(row[name]) else DASH


def _never_read(row: Mapping[str, Any]) -> str:
    share = row.get("share_not_read")
    return f"{share_text(share)} %" if is_number(share) else DASH


def _quoted(name: str) -> str:
    # Quoted, so that a name is no scheme such as javascript: to the browser.
    return urllib.parse.quote(name)
