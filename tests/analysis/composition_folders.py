"""Folders of predictions as `predict` and runs leave them, for tests of the composition."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.files import prepare_folder, write_csv, write_json

CLASSES = ("LYM", "STR", "TUM")


def probabilities(numbers: npt.ArrayLike, n_classes: int = 3) -> npt.NDArray[np.float32]:
    """Probability 0.8 for the class of each tile, the rest shared by the others."""
    rest = 0.2 / (n_classes - 1)
    return (np.eye(n_classes)[np.asarray(numbers)] * (0.8 - rest) + rest).astype(np.float32)


def slide_table(numbers: npt.ArrayLike, classes: tuple[str, ...] = CLASSES) -> pd.DataFrame:
    """Tiles in rows of 16 on the grid of a slide."""
    numbers = np.asarray(numbers)
    places = np.arange(len(numbers))
    table = pd.DataFrame({"minx": places % 16 * 100, "miny": places // 16 * 100,
                          "width": 100, "height": 100})  # fmt: skip
    probs = probabilities(numbers, len(classes))
    return table.assign(**{f"prob_{name}": probs[:, k] for k, name in enumerate(classes)})


def write_predicted(
    folder: Path,
    slides: Mapping[str, pd.DataFrame],
    patients: Mapping[str, str] | None = None,
    **record: Any,
) -> Path:
    """A folder of `predict`; `patients` are slide_id -> patient_id, unknown where absent."""
    prepare_folder(folder / "predictions")
    for name, table in slides.items():
        write_csv(folder / "predictions" / f"{name}.csv", table)
    known = [(patients or {}).get(name, "") for name in slides]
    write_csv(folder / "slides.csv", pd.DataFrame({"slide_id": list(slides), "patient_id": known}))
    content = {"command": "predict", "status": "done", "classes": list(CLASSES), **record}
    write_json(folder / "run.json", content)
    return folder


def write_tile_run(folder: Path, confusion: Mapping[str, Any], classes: Any = CLASSES) -> Path:
    """The figures of a run whose labels stand at tiles: side -> counts."""
    prepare_folder(folder)
    sides = {
        side: {"tile": {"aggregations": {"probability": {"confusion": {"counts": counts}}}}}
        for side, counts in confusion.items()
    }
    write_json(
        folder / "metrics.json", {"classes": list(classes), "label_level": "tile", "splits": sides}
    )
    return folder
