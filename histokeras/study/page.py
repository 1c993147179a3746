"""One page of a whole study: its runs side by side, what each says, and how they were made."""

import urllib.parse
from pathlib import Path
from typing import Any

from histokeras.report.cluster_page import told_clusters
from histokeras.report.comparison import compared
from histokeras.report.composition_page import told_composition
from histokeras.report.html import render, require_own_page, write_page
from histokeras.report.lymph_page import told_lymph
from histokeras.report.lymph_truth_page import is_truth_folder, told_truth
from histokeras.report.run_files import RunFiles, read_run
from histokeras.report.segmentation_page import told_segmentation
from histokeras.report.strata import strata_tables
from histokeras.report.survival_page import told_survival
from histokeras.report.tables import Table, baseline_table
from histokeras.report.text import at
from histokeras.report.tuning import BEST_RUN, SUMMARY, format_search
from histokeras.report.tuning import PAGE as TUNING_PAGE
from histokeras.runs.record import read_object, read_record
from histokeras.study.run import Step, StudyRun, read_record_of

PAGE = "study.html"
_SEARCH = "tune "
_TOLD = {
    "cluster": told_clusters,
    "composition": told_composition,
    "clinical": lambda folder: ("What goes with which clinical column stands on its page.", []),
    "fit-segmenter": told_segmentation,
    "lymph-nodes": told_lymph,
    "survival": told_survival,
}
"""What is said of commands whose pages hold no figures of a run."""


def write_study_page(study: StudyRun) -> Path:
    """Write ``study.html`` into the study's folder.

    Args:
        study: A study whose stages are done.

    Returns:
        The page.

    Raises:
        FeatureError: If one of its runs is not whole.
        ConfigError: If the page is of other origin, or its runs have no figure in common.
        OutputError: If it cannot be written.
    """
    page = study.out / PAGE
    require_own_page(page)
    steps = {step.stage.name: step for step in study.steps()}
    names = list(study.config.runs)
    folders = [_run_of(steps[name]) for name in names]
    runs = [read_run(folder) for folder in folders if folder is not None]
    content: dict[str, Any] = compared(names, runs) if runs else {"forest": None}
    html = render(
        "study.html.j2",
        title=study.config.title,
        subtitle=f"{len(steps)} stages, {len(runs)} runs",
        runs=[_told(name, run, study.out) for name, run in zip(names, runs, strict=True)],
        others=[told for step in steps.values() for told in _told_otherwise(step, study.out)],
        stages=_stages(study),
        **content,
    )
    write_page(page, html, [content["forest"]] if content["forest"] else [])
    return page


def _run_of(step: Step) -> Path | None:
    """Return the folder of a stage's run; that of a search is the one of its best."""
    if step.output is None or not step.stage.command.startswith(_SEARCH):
        return step.output
    return step.output / BEST_RUN


def _told_otherwise(step: Step, out: Path) -> list[dict[str, Any]]:
    """Return what the page says of a stage whose figures stand beside no run's."""
    if step.output is None:
        return []
    if not step.stage.command.startswith(_SEARCH):
        return _told_of(step.stage.name, step.stage.command, step.output, out)
    says, *notes = format_search(read_object(step.output / SUMMARY)).splitlines()
    link = _link(step.output / TUNING_PAGE, out)
    told = {"name": step.stage.name, "link": link, "says": says, "notes": notes, "tables": []}
    best = step.output / BEST_RUN
    command = str(read_record(best).get("command", ""))
    return [told, *_told_of(f"{step.stage.name}: {BEST_RUN}", command, best, out)]


def _told_of(name: str, command: str, folder: Path, out: Path) -> list[dict[str, Any]]:
    of_nodes = command == "evaluate" and is_truth_folder(folder)
    tell = told_truth if of_nodes else _TOLD.get(command)
    if tell is None:
        return []
    says, tables = tell(folder)
    link = _link(folder / "report.html", out)
    return [{"name": name, "link": link, "says": says, "notes": [], "tables": tables}]


def _told(name: str, run: RunFiles, out: Path) -> dict[str, Any]:
    """Return what the page says of one run."""
    return {
        "name": name,
        "verdict": at(run.main, "verdict", "text") or "",
        "baselines": baseline_table(run),
        "strata": strata_tables(run),
        "link": _link(run.folder / "report.html", out),
    }


def _link(page: Path, out: Path) -> str:
    """Return where a page lies, seen from the study's; "" where it lies elsewhere."""
    page = page.resolve()
    if not page.is_file() or not page.is_relative_to(out.resolve()):
        return ""
    # Quoted, so that a folder's name is no scheme such as javascript: to the browser.
    return urllib.parse.quote(page.relative_to(out.resolve()).as_posix())


def _stages(study: StudyRun) -> Table:
    known = read_record_of(study.out, study.config.title)
    rows: list[Any] = []
    for step in study.steps():
        row = known.get(step.stage.name, {})
        state = str(row.get("status", ""))
        state += "; some slides failed" if row.get("exit_code") else ""
        ended = str(row.get("ended", ""))[:16].replace("T", " ")
        command = f"histokeras {step.stage.command}"
        rows.append([step.stage.name, command, state, f"{ended} UTC" if ended else ""])
    return Table("Stages, in order", ("Stage", "Command", "State", "Ended"), rows)
