"""The tables of a segmentation's page."""

from collections.abc import Mapping, Sequence
from typing import Any

from histokeras.analysis.segmentation import NETWORK
from histokeras.report.segmentation_words import boundary_note
from histokeras.report.tables import Cell, Table
from histokeras.report.text import DASH, at, interval, is_number, number, percent, plural

_FIGURES = {
    "dice": "Dice",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "mean_dice": "Mean Dice of classes",
    "mean_iou": "Mean IoU of classes",
    "pixel_accuracy": "Pixel accuracy",
    "r2": "R\u00b2 of pixels",
    "brier_skill": "Brier skill score",
    "hd95_um": "Hausdorff, 95th percentile, \u00b5m",
    "assd_um": "Mean distance of boundaries, \u00b5m",
    "hd95_px": "Hausdorff, 95th percentile, px",
    "assd_px": "Mean distance of boundaries, px",
}
_PIXELS_ONLY = {"hd95_px": "hd95_um", "assd_px": "assd_um"}
_SHARES = {
    "r2": "R\u00b2",
    "pearson": "Pearson r",
    "mae": "Mean absolute error",
    "bias": "Bias (predicted \u2212 true)",
    "limit_low": "Lower limit of agreement",
    "limit_high": "Upper limit of agreement",
}
Named = Mapping[str, Any]
Row = list[str | Cell]


def levels_of(metrics: Named) -> dict[str, str]:
    """Return the ways in which figures are taken together, each that says something else."""
    unit, network = str(metrics["resampled_by"]), metrics["models"][NETWORK]
    titles = {"unit_mean": f"Mean over {unit}s", "slide_mean": "Mean over slides",
              "image_mean": "Mean over images"}  # fmt: skip
    # Images alone have distances of boundaries: where all are the same, their column stays.
    shown: list[str] = []
    for level in ("image_mean", "unit_mean", "slide_mean"):
        if level in network and not any(_same(network[level], network[other]) for other in shown):
            shown.append(level)
    levels = {level: title for level, title in titles.items() if level in shown}
    if len(levels) == 1:
        levels = {next(iter(levels)): f"Mean over {unit}s"}
    return {"pooled": "All pixels as one pool", **levels}


def _same(one: Named, other: Named) -> bool:
    return all(one[key] == other[key] for key in one.keys() & other.keys())


def figure_table(metrics: Named) -> Table:
    """Return the figures of the network, a column for each way to take pixels together."""
    network, levels = metrics["models"][NETWORK], levels_of(metrics)
    rows: list[Row] = []
    for key, title in _FIGURES.items():
        known = [at(network, level, key) for level in levels]
        in_um = at(network, "image_mean", _PIXELS_ONLY.get(key, ""), "value")
        if not any(known) or (key.startswith(("hd95", "assd")) and not _any(known)):
            continue
        if key in _PIXELS_ONLY and is_number(in_um):
            continue
        rows.append([title, *(_of_level(network, level, key) for level in levels)])
    unit = metrics["resampled_by"]
    notes = [
        f"A pool weighs each pixel the same, a mean over {unit}s each {unit}. Pixel accuracy of "
        "the pool is global: right pixels of all images over all their pixels; the mean over "
        "images of their own accuracies is another figure.",
        "R\u00b2 of pixels falls with the rarity of the class; that of shares, below, is the one "
        "that means something.",
        boundary_note(metrics),
    ]
    if metrics["positive"] is None:
        notes = notes[:1]
    notes += [f"Note: {note}." for note in _notes(network, levels)]
    of = f"Figures of {metrics['positive']}" if metrics["positive"] is not None else "Figures"
    return Table(of, ("Figure", *levels.values()), rows, list(filter(None, notes)))


def _any(estimates: Sequence[Any]) -> bool:
    return any(is_number(at(estimate, "value")) for estimate in estimates)


def _of_level(model: Named, level: str, key: str) -> str | Cell:
    text = interval(at(model, level, key))
    left_out = at(model, "undefined", level, key)
    if text == DASH or not left_out:
        return text
    return Cell(text, f"{left_out:,} left out: not defined")


def _notes(model: Named, levels: Mapping[str, str]) -> list[str]:
    found = [
        str(at(estimate, "note") or "")
        for level in levels
        for key, estimate in model[level].items()
        if key in ("dice", "mean_iou")
    ]
    return [note for note in dict.fromkeys(found) if note]


def model_table(metrics: Named) -> Table:
    """Return the network beside each floor, the difference below each figure."""
    of_class = metrics["positive"] is not None
    keys = ("dice", "iou", "mean_iou", "pixel_accuracy") if of_class else (
        "mean_iou", "mean_dice", "pixel_accuracy")  # fmt: skip
    mean = "dice" if of_class else "mean_iou"
    rows: list[Row] = []
    for name, model in metrics["models"].items():
        cells: Row = ["This network" if name == NETWORK else _capital(str(model["title"]))]
        cells += [_compared(model, "pooled", key) for key in keys]
        rows.append([*cells, _compared(model, "unit_mean", mean)])
    constant = metrics["constant"]
    said = [number(constant.get(key)) for key in keys]
    rows.append([f"{_capital(str(constant['class']))} everywhere", *said, DASH])
    unit = metrics["resampled_by"]
    head = ("Model", *(_FIGURES[key] for key in keys), f"{_FIGURES[mean]}, mean over {unit}s")
    notes = [
        f"\u0394: this network minus the other, on the same resamples of {unit}s. Above 0 the "
        "network is better; an interval that holds 0 leaves it open."
    ]
    return Table("The network and simpler ways, on the same test pixels", head, rows, notes)


def _compared(model: Named, level: str, key: str) -> str | Cell:
    difference = at(model, "difference", level, key)
    text = interval(at(model, level, key))
    return Cell(text, f"\u0394 {interval(difference, signed=True)}") if difference else text


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def class_table(metrics: Named) -> Table:
    """Return the network's figures of each class against all others."""
    classes, total = metrics["models"][NETWORK]["classes"], max(int(metrics["n_px"]), 1)
    rows: list[Row] = [
        [
            str(name),
            _percent_of(values["n_px_true"], total),
            _percent_of(values["n_px_predicted"], total),
            *(interval(values[key]) for key in ("dice", "iou", "precision", "recall")),
            f"{at(metrics, 'images_without', name) or 0:,}",
        ]
        for name, values in classes.items()
    ]
    head = ("Class", "True pixels", "Predicted", "Dice", "IoU", "Precision", "Recall",
            "Images without it")  # fmt: skip
    return Table(f"Each class, {metrics['n_px']:,} pixels as one pool", head, rows)


def _percent_of(count: int, total: int) -> str:
    """Return a share of pixels as "4.3 %"."""
    return f"{100 * count / total:.1f} %"


def confusion_table(metrics: Named) -> Table:
    """Return the pixels by true and predicted class, shaded by the share of the row."""
    names = [str(name) for name in metrics["classes"]]
    rows: list[Row] = []
    for name, counts in zip(names, metrics["models"][NETWORK]["confusion"], strict=True):
        total = sum(counts)
        shares = [count / total if total else None for count in counts]
        cells: Row = [
            Cell(percent(share), f"{count:,} px", shade=round(10 * (share or 0.0)))
            for count, share in zip(counts, shares, strict=True)
        ]
        rows.append([name, *cells, f"{total:,} px"])
    head = ("True class", *(f"says {name}" for name in names), "All")
    return Table("Rows: the truth. Columns: what the network says.", head, rows, css="confusion")


def share_table(metrics: Named) -> Table | None:
    """Return how predicted shares of patients go with the true ones."""
    models = {name: m for name, m in metrics["models"].items() if m.get("share")}
    if not models:
        return None
    rows: list[Row] = [
        [title, *(interval(model["share"][key], signed=key in ("bias", "limit_low", "limit_high"))
                  for model in models.values())]
        for key, title in _SHARES.items()
    ]  # fmt: skip
    n, unit = next(iter(models.values()))["share"]["n"], str(metrics["resampled_by"])
    notes = [
        "Shares are of labelled pixels, 0 to 1. R\u00b2 is below 0 where saying the mean of these "
        f"true shares of every {unit} would have come nearer. About 95 % of the differences lie "
        "between the limits of agreement (Bland and Altman)."
    ]
    found = next(iter(models.values()))["share"]["r2"]
    if found["note"]:
        notes.append(f"Note: {found['note']}.")
    head = ("Figure", *(_capital(str(model["title"])) for model in models.values()))
    caption = f"Share of {metrics['positive']} in each of {plural(n, unit)}"
    return Table(caption, head, rows, notes)


def fold_table(metrics: Named) -> Table | None:
    """Return the network's figures of each test fold alone; None without cross-validation."""
    folds = metrics["models"][NETWORK].get("folds") or []
    if not folds:
        return None
    of_class = metrics["positive"] is not None
    keys = ("dice", "iou", "precision", "recall") if of_class else ("mean_iou", "mean_dice")
    keys = (*keys, "pixel_accuracy")
    rows: list[Row] = [
        [str(row["fold"]), f"{row['n_images']:,}", f"{row['n_units']:,}",
         *(number(row.get(key)) for key in keys)]
        for row in folds
    ]  # fmt: skip
    unit = f"{metrics['resampled_by']}s".capitalize()
    head = ("Fold", "Test images", unit, *(_FIGURES[key] for key in keys))
    note = "Folds share training images, so their spread is no interval."
    return Table("Folds, pixels of each as one pool", head, rows, [note])
