"""How well the features tell the site, as sentences and tables, from what metrics.json says."""

from typing import Any

from histokeras.analysis.site_text import figure_rows, label_figure, patients_text, site_sentences
from histokeras.report.run_files import RunFiles
from histokeras.report.tables import Cell, Table
from histokeras.report.text import at, digits, interval, number

_MOST_ROWS = 40
_MOST_CLASSES = 4


def site_section(run: RunFiles) -> dict[str, Any] | None:
    """Return ``sentences`` and ``tables``; None where no site was known."""
    probe = run.metrics.get("site_probe")
    if not probe:
        return None
    sentences = site_sentences(probe)
    tables = [_figures(run), _sites(run)] if probe.get("computed") else []
    return {"sentences": sentences, "tables": tables}


def _figures(run: RunFiles) -> Table:
    probe = run.metrics["site_probe"]
    rows: list[list[str | Cell]] = [
        [title, interval(figure), number(chance)] for title, figure, chance in figure_rows(probe)
    ]
    if (label := label_figure(run.metrics)) is not None:
        rows.append([label[0], interval(label[1]), number(0.5)])
    notes = [
        f"{patients_text(probe)}. The site of each patient was told by a multinomial logistic "
        "regression on the mean of its feature vectors, standardised and reduced to principal "
        f"components, that had not seen the patient ({probe['folds']} folds by site; these are "
        "not the folds of the run). It is a probe of the features: what the head made of them "
        "does not enter.",
        "Chance of the accuracy: always the largest site. Intervals resample patients, and take "
        "the probe as it is.",
    ]
    if "auc_within_label" in probe:
        notes.append(
            "Among patients of one label: what tells sites apart there is not the label itself."
        )
    return Table("The site, told from the features", ("Figure", "Value", "Chance"), rows, notes)


def _sites(run: RunFiles) -> Table:
    sites = run.metrics["site_probe"]["sites"]
    largest = sorted(sites, key=lambda name: (-sites[name]["n"], name))[:_MOST_ROWS]
    classes = list(next(iter(sites.values())).get("n_per_class", ()))
    classes = classes if len(classes) <= _MOST_CLASSES else []
    by_mean = "mean" in next(iter(sites.values()))
    rows: list[list[str | Cell]] = []
    for name in sorted(largest):
        row = sites[name]
        counts: list[str | Cell] = [f"{at(row, 'n_per_class', label):,}" for label in classes]
        means: list[str | Cell] = [digits(row["mean"])] if by_mean else []
        rows.append([name, f"{row['n']:,}", *counts, *means, number(row["auc"])])
    head = ["Site", "Patients", *classes, *([f"Mean {run.target}"] if by_mean else [])]
    notes = ["AUC of the site: against all other sites together, without an interval."]
    if len(largest) < len(sites):
        notes.append(
            f"The {len(largest)} largest of {len(sites)}; all of them are in metrics.json."
        )
    return Table("Patients and labels at each site", [*head, "AUC of the site"], rows, notes)
