"""The page of ``histokeras clinical --with``: which measures go with which clinical columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.clinical_link import ClinicalLink
from histokeras.cohort.clinical import Clinical
from histokeras.cohort.clinical_text import column_facts, value_text
from histokeras.cohort.clinical_words import plain_text
from histokeras.files import prepare_folder, write_csv
from histokeras.report import tables
from histokeras.report.caution import Caution
from histokeras.report.clinical_plots import ALPHA, effect_plot, pair_plot
from histokeras.report.html import render, require_own_page, write_page
from histokeras.report.plots import Plot
from histokeras.report.tables import Cell, Table
from histokeras.report.text import clean, listed, number, plural
from histokeras.runs.record import RunRecord

COMMAND = "clinical"
FILES = {
    "associations.csv": "every pair: test, number of patients, p, q, effect size, or why not",
    "linked.csv": "one row a patient: the measures and the clinical columns, as they were tested",
    "dropped.csv": "patients that are in one table only, or were trained on",
    "run.json": "what was done, with which settings and versions",
}
_MOST_ROWS, _MOST_BOXES, _FEW = 25, 6, 30


def write_link(
    folder: Path,
    clinical: Clinical,
    link: ClinicalLink,
    *,
    config: Mapping[str, Any],
    command_line: str = "",
) -> Path:
    """Write the link of measures and clinical columns, and its page.

    Args:
        folder: The output folder.
        clinical: The clinical table.
        link: The join and its tests.
        config: The resolved options, for run.json.
        command_line: What was typed, for run.json.

    Returns:
        The page.

    Raises:
        ConfigError: If the page is of other origin.
        OutputError: If it cannot be written.
    """
    page = folder / "report.html"
    require_own_page(page)
    prepare_folder(folder)
    record = RunRecord(COMMAND, config, command_line=command_line)
    record.facts |= {"funnel": dict(link.funnel), "notes": [*clinical.notes, *link.notes]}
    record.facts["n_tests"] = int(link.results["p"].notna().sum())
    record.write(folder, status="running")
    write_csv(folder / "associations.csv", link.results)
    write_csv(folder / "linked.csv", link.table)
    write_csv(folder / "dropped.csv", link.dropped)
    write_page(page, _page(folder, clinical, link, record), [])
    record.write(folder, status="done")
    return page


def headline(link: ClinicalLink) -> str:
    """Return the result in one sentence."""
    tested = link.results[link.results["p"].notna()]
    found = tested[tested["q"] < ALPHA]
    if tested.empty:
        return "Nothing could be tested: see below why."
    if found.empty:
        return (
            f"None of {plural(len(tested), 'test')} has a false discovery rate below {ALPHA:g}: "
            "no link of the measures with a clinical column is shown."
        )
    first = found.iloc[0]
    few = "has" if len(found) == 1 else "have"
    return (
        f"{len(found):,} of {plural(len(tested), 'test')} {few} a false discovery rate below "
        f"{ALPHA:g}; first {first['measure']} with {first['clinical']}."
    )


def _page(folder: Path, clinical: Clinical, link: ClinicalLink, record: RunRecord) -> str:
    results = link.results.map(clean)
    tested = results[results["p"].notna()]
    any_found = bool((tested["q"] < ALPHA).any())
    content = clean(record.content("done"))
    return render(
        "clinical.html.j2",
        title="Clinical link",
        subtitle=f"{plural(len(link.measures), 'measure')} · "
        f"{plural(len(link.clinical), 'clinical column')} · "
        f"{plural(len(link.table), 'patient')}",
        headline=clean(headline(link)),
        cautions=_cautions(link),
        notes=clean([*link.notes, *clinical.notes]),
        funnel=_funnel(link),
        effects=effect_plot(link),
        boxes=_boxes(link, tested[tested["q"] < ALPHA] if any_found else tested),
        any_found=any_found,
        strongest=_strongest(tested),
        refused=_refused(results),
        columns=_columns(clinical),
        lost=_lost(clinical),
        command=content["command_line"],
        settings=[
            tables.settings_table("Options of the command", content["config"]),
            tables.settings_table("Versions", content["versions"]),
        ],
        files=Table(
            f"Files of {clean(folder.resolve().name)}", ("File", "Holds"),
            [[name, text] for name, text in FILES.items()], css="settings",
        ),
    )  # fmt: skip


def _boxes(link: ClinicalLink, results: pd.DataFrame) -> list[Plot]:
    """Draw the strongest pair of each clinical column: many measures tell the same."""
    numbers = [name for name in link.measures if link.table[name].dtype.kind == "f"]
    drawn = results[results["measure"].isin(numbers)].drop_duplicates("clinical").head(_MOST_BOXES)
    return [pair_plot(link, row, f"pair{i}") for i, row in enumerate(drawn.to_dict("records"))]


def _cautions(link: ClinicalLink) -> list[Caution]:
    if len(link.table) >= _FEW:
        return []
    return [
        Caution(
            "few-patients",
            f"Only {plural(len(link.table), 'patient')}",
            "Only strong links can be seen, and what is seen is likely too strong.",
            "Collect more patients before anything is concluded.",
        )
    ]


def _funnel(link: ClinicalLink) -> Table:
    most = max(link.funnel.values())
    rows: list[list[str | Cell]] = [
        [clean(step), Cell(f"{count:,}", bar=count / most)] for step, count in link.funnel.items()
    ]
    return Table("From the two tables to the tests", ("Step", "Patients"), rows, css="funnel")


def _strongest(tested: pd.DataFrame) -> Table | None:
    rows: list[list[str | Cell]] = [
        [
            f"{row['measure']} with {row['clinical']}",
            Cell(_p(row["q"]), below=f"p {_p(row['p'])}"),
            Cell(number(row["effect_size"], signed=row["test"] == "Spearman"),
                 below=str(row["effect"]).replace("_", " ")),
            f"{int(row['n']):,}",
            str(row["test"]),
            Cell(row["direction"], below=row["groups"]),
        ]
        for row in tested.head(_MOST_ROWS).to_dict("records")
    ]  # fmt: skip
    more = len(tested) - len(rows)
    notes = [f"{more:,} more in associations.csv."] if more > 0 else []
    head = ("Pair", "q", "Effect size", "Patients", "Test", "How")
    return Table("The strongest first, by p", head, rows, notes, css="prose") if rows else None


def _refused(results: pd.DataFrame) -> Table | None:
    refused = results[results["not_computed"] != ""]
    rows = [
        [str(reason), f"{len(part):,}", listed(sorted(set(part["clinical"])), most=6)]
        for reason, part in refused.groupby("not_computed")
    ]
    rows.sort(key=lambda row: -int(row[1].replace(",", "")))
    head = ("Why", "Pairs", "Clinical columns")
    return Table("Not computed", head, rows[:_MOST_ROWS], css="prose") if rows else None


def _columns(clinical: Clinical) -> Table:
    n = max(len(clinical.table), 1)
    rows: list[list[str | Cell]] = [
        [
            row["column"],
            Cell(row["kind"], below="code book" if row["codes"] else ""),
            Cell(
                f"{row['missing']:,}", below=f"{row['missing'] / n:.0%}" if row["missing"] else ""
            ),
            Cell(
                value_text(row),
                below=f"header: {plain_text(row['header'])}"
                if row["header"] != row["column"]
                else "",
            ),
        ]
        for row in clean(column_facts(clinical))
    ]
    head = ("Column", "Kind", "Missing", "Values")
    return Table(f"Clinical table, {plural(n, 'patient')}", head, rows, css="prose")


def _lost(clinical: Clinical) -> list[Table]:
    def words(table: pd.DataFrame) -> list[list[str]]:
        return [[str(clean(cell)) for cell in row] for row in table.head(_MOST_ROWS).to_numpy()]

    found = [
        Table("Columns dropped", ("Column", "Why"), words(clinical.dropped_columns)),
        Table("Rows left out", ("Row", "Patient", "Why"), words(clinical.dropped)),
        Table(
            "Cells that cannot be read, counted as missing",
            ("Row", "Patient", "Column", "Cell", "Why"),
            words(clinical.unreadable),
        ),
    ]
    return [table for table in found if table.rows]


def _p(value: Any) -> str:
    return f"{value:.1e}" if value < 0.001 else number(value)
