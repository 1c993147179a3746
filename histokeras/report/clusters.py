"""Pictures of clusters: where tiles lie on a map, and tiles near each centre."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from histokeras.files import write_bytes
from histokeras.report.colours import FAINT, INK, class_looks

_DPI = 130
_GAP = 0.02


def plot_map(path: Path, points: pd.DataFrame, names: tuple[str, str], title: str) -> None:
    """Draw tiles as points in the colour and marker of their cluster.

    Args:
        path: The PNG to write.
        points: ``x``, ``y`` and ``cluster`` (numbers from 0).
        names: What x and y are.
        title: Heading.

    Raises:
        OutputError: If it cannot be written.
    """
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    clusters = sorted(points["cluster"].unique())
    looks = class_looks(f"{cluster:04d}" for cluster in clusters)
    for cluster in clusters:
        mine, look = points[points["cluster"] == cluster], looks[f"{cluster:04d}"]
        axes.scatter(
            mine["x"], mine["y"], s=14, alpha=0.6, linewidths=0, color=look.colour,
            marker=look.marker, label=f"cluster {cluster} ({len(mine)})",
        )  # fmt: skip
    axes.set_xlabel(names[0], color=INK)
    axes.set_ylabel(names[1], color=INK)
    axes.set_title(title, color=INK, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=FAINT)
    figure.legend(loc="outside right upper", frameon=False, markerscale=1.6)
    _save(path, figure)


def plot_gallery(
    path: Path, pictures: Sequence[Sequence[bytes]], shares: Sequence[float], limit: str = ""
) -> bool:
    """Draw a row of tiles for each cluster, nearest its centre first.

    Args:
        path: The PNG to write.
        pictures: JPEGs of each cluster.
        shares: Share of all tiles that each cluster has.
        limit: Of whom at most so many pictures are, in words; "" for no limit.

    Returns:
        Whether there was any picture; without one no file is written.

    Raises:
        OutputError: If it cannot be written.
    """
    widest = max(map(len, pictures), default=0)
    if not widest:
        return False
    n = len(pictures)
    figure = Figure(figsize=(1.5 + widest * 1.05, 0.3 + n * 1.1))
    grid = figure.add_gridspec(
        n, widest, left=1.5 / figure.get_figwidth(), right=1 - _GAP / 4,
        top=1 - 0.25 / figure.get_figheight(), bottom=_GAP, wspace=0.04, hspace=0.06,
    )  # fmt: skip
    looks = class_looks(f"{cluster:04d}" for cluster in range(n))
    for cluster, (row, share) in enumerate(zip(pictures, shares, strict=True)):
        for column in range(max(len(row), 1)):
            axes = figure.add_subplot(grid[cluster, column])
            axes.set_axis_off()
            if row:
                axes.imshow(np.asarray(Image.open(io.BytesIO(row[column])).convert("RGB")))
        box = grid[cluster, 0].get_position(figure)
        words = f"cluster {cluster}\n{share:.0%} of tiles" + ("" if row else "\nno picture")
        figure.text(
            0.1 / figure.get_figwidth(), (box.y0 + box.y1) / 2, words, va="center", fontsize=10,
            color=looks[f"{cluster:04d}"].colour,
        )  # fmt: skip
    figure.text(
        1.5 / figure.get_figwidth(), 1 - 0.2 / figure.get_figheight(),
        "tiles nearest the centre, of those with a stored picture; "
        + (limit or "their patients and slides are unknown"),
        color=FAINT, fontsize=8,
    )  # fmt: skip
    _save(path, figure)
    return True


def _save(path: Path, figure: Figure) -> None:
    buffer = io.BytesIO()
    # Without the version of matplotlib: equal runs give equal files.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
