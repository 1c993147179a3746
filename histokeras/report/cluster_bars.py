"""The share of each cluster in each patient (or slide), as one stacked bar a patient."""

import pandas as pd

from histokeras.report.colours import OKABE_ITO, class_looks
from histokeras.report.plots import Key, Plot
from histokeras.report.stacked_bars import READABLE, Group, evenly, stacked_bars
from histokeras.report.text import plural
from histokeras.types import LABEL


def cluster_colours(n_clusters: int) -> list[str]:
    """Return ``#rrggbb`` of each cluster: those of the map and the gallery."""
    looks = class_looks(f"{cluster:04d}" for cluster in range(n_clusters))
    return [look.colour for look in looks.values()]


def share_plot(table: pd.DataFrame, unit: str, n_clusters: int) -> Plot | None:
    """Draw the share of each cluster, a bar a patient or slide, sorted by label, then by share.

    Args:
        table: ``<unit>_id``, ``share_0`` ... (numbers) and ``label`` where known, "" for none.
        unit: ``patient`` or ``slide``.
        n_clusters: How many clusters there are.

    Returns:
        The plot; None for an empty table.
    """
    if table.empty:
        return None
    ordered = _sorted(table, n_clusters)
    groups = _groups(ordered.iloc[evenly(len(ordered))], unit, n_clusters)
    colours = cluster_colours(n_clusters)
    text = _text(table, unit, sum(len(group.names) for group in groups))
    if n_clusters > len(OKABE_ITO):
        text += " From the ninth cluster on colours come again: a bar has its clusters in order."
    title = f"Clusters in each {unit}"
    svg = stacked_bars(groups, colours, name="shares", title=title, text=text)
    keys = [Key(f"cluster {i}", colour, kind="dot") for i, colour in enumerate(colours)]
    return Plot("shares", title, svg, text, keys)


def _sorted(table: pd.DataFrame, n_clusters: int) -> pd.DataFrame:
    """Sort by label (none last), by the largest cluster, and by its share, the largest first."""
    shares = table[[f"share_{i}" for i in range(n_clusters)]].to_numpy(float)
    labels = table[LABEL].astype(str) if LABEL in table else pd.Series("", table.index)
    order = pd.DataFrame({
        LABEL: labels.to_numpy(), "_none": labels.eq("").to_numpy(),
        "_largest": shares.argmax(axis=1), "_share": -shares.max(axis=1),
    }).sort_values(["_none", LABEL, "_largest", "_share"], kind="stable")  # fmt: skip
    return table.assign(**{LABEL: labels}).iloc[order.index]


def _groups(table: pd.DataFrame, unit: str, n_clusters: int) -> list[Group]:
    found = []
    known = bool((table[LABEL] != "").any())
    for label, part in table.groupby(LABEL, sort=False):
        name = str(label) if label else "without label" if known else "all"
        found.append(
            Group(
                f"{name}: {plural(len(part), unit)}",
                part[f"{unit}_id"].astype(str).tolist(),
                part[[f"share_{i}" for i in range(n_clusters)]].to_numpy(float),
            )
        )
    return found


def _text(table: pd.DataFrame, unit: str, n: int) -> str:
    order = "sorted by label, then by their largest cluster and its share"
    if not (LABEL in table and (table[LABEL] != "").any()):
        order = "sorted by their largest cluster and its share"
    text = f"One bar a {unit}, {order}. {plural(len(table), unit)} of all sides"
    if n < len(table):
        return f"{text}; {n:,} of them, evenly taken in this order, are drawn."
    if n > READABLE:
        return f"{text}: too many for names, which stand in {unit}s.csv."
    return f"{text}."
