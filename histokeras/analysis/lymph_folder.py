"""What ``lymph-nodes`` left in a folder: tables, and the maps of each slide."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image as PillowImage

from histokeras.analysis.lymph_nodes import NODE_COLUMNS, NodeRules
from histokeras.analysis.lymph_split import Labels
from histokeras.analysis.tile_predictions import predictions_path, read_slide_predictions
from histokeras.errors import FeatureError, TableError
from histokeras.files import safe_name
from histokeras.runs.record import read_object, read_record, require_ended
from histokeras.slides.tissue import Mask
from histokeras.tables import read_own, require_columns
from histokeras.types import IGNORE, PATIENT_ID, PROB, SLIDE_ID

LYMPH_NODES = "lymph-nodes"
"""The command, as run.json names it."""
_SHADES = 254
"""Of the map of tumour: a probability of 1."""
_FACTS = ("outcome", "overview_mpp", "scale", "width_px", "height_px")


@dataclass(frozen=True, eq=False)
class LymphFolder:
    """An output folder of ``lymph-nodes``.

    Attributes:
        folder: The folder.
        settings: What all its slides were measured with.
        rules: What counted as a node, and as a metastatic one.
        slides: slides.csv, ids as text.
        nodes: nodes.csv, likewise.
    """

    folder: Path
    settings: Mapping[str, Any]
    rules: NodeRules
    slides: pd.DataFrame
    nodes: pd.DataFrame

    def labels(self, slide_id: str) -> Labels:
        """Return the nodes of a slide, int32 (h, w) of its overview: 0 outside, else the number.

        Raises:
            FeatureError: If the map is missing or damaged (MAP_UNREADABLE).
        """
        return self._map(slide_id, "nodes").astype(np.int32)

    def tumour(self, slide_id: str) -> Mask:
        """Return where tumour was found in the nodes of a slide, bool (h, w).

        Raises:
            FeatureError: If the map is missing or damaged (MAP_UNREADABLE).
        """
        shades = self._map(slide_id, "tumour")
        above = shades > float(self.settings.get("threshold", 0.5)) * _SHADES
        return np.asarray(above & (shades != IGNORE))

    def tiles(self, slide_id: str) -> pd.DataFrame | None:
        """Return the tiles that a classifier read: ``minx miny width height``, ``prob``.

        None where tumour was drawn, and where no tile was read.

        Raises:
            TableError: If the table is damaged.
        """
        if not predictions_path(self.folder, slide_id).is_file():
            return None
        table = read_slide_predictions(slide_id, [self.folder])
        name = f"{PROB}{self.settings.get('tile_class', '')}"
        require_columns(table, (name,), name=f"predictions of {slide_id}")
        return table.rename(columns={name: "prob"})

    def geometry(
        self, slide: Mapping[Any, Any], corner: tuple[float, float]
    ) -> tuple[tuple[int, int], float, float]:
        """Return (height, width) of the overview of a slide, its scale and its mpp.

        Of a slide on which no tissue was found there is no overview; one is laid out for it.

        Args:
            slide: Its row of slides.csv.
            corner: x and y of what is to lie inside, in level-0 pixels.

        Raises:
            FeatureError: If nothing tells (RECORD_DAMAGED).
        """
        if pd.notna(slide["width_px"]):
            shape = int(slide["height_px"]), int(slide["width_px"])
            return shape, float(slide["scale"]), float(slide["overview_mpp"])
        path = self.folder / f"{safe_name(slide[SLIDE_ID])}.lymph.json"
        known, mpp = read_object(path).get("slide_mpp"), self.settings.get("overview_mpp")
        if not known or not mpp:
            raise FeatureError(
                f"{path} does not tell the resolution of the slide.",
                code="RECORD_DAMAGED",
                hint="Give the same lymph-nodes command again.",
            )
        scale = float(mpp) / float(known)
        return (int(corner[1] / scale) + 1, int(corner[0] / scale) + 1), scale, float(mpp)

    def _map(self, slide_id: str, what: str) -> npt.NDArray[Any]:
        path = self.folder / f"{safe_name(f'{slide_id}.{what}')}.png"
        try:
            with PillowImage.open(path, formats=("PNG",)) as picture:
                values = np.asarray(picture)
        except (OSError, ValueError, PillowImage.DecompressionBombError) as error:
            raise FeatureError(
                f"{path} cannot be read.",
                code="MAP_UNREADABLE",
                hint="Give the same lymph-nodes command again.",
            ) from error
        if values.ndim != 2:
            raise FeatureError(
                f"{path} is no map of lymph nodes: it has {values.ndim} axes.",
                code="MAP_UNREADABLE",
                hint="Give the same lymph-nodes command again with --overwrite.",
            )
        return values


def is_lymph_folder(folder: Path) -> bool:
    """Tell whether ``lymph-nodes`` wrote a folder."""
    return str(read_record(folder).get("command", "")) == LYMPH_NODES


def open_lymph_folder(folder: Path) -> LymphFolder:
    """Open an output folder of ``lymph-nodes``.

    Raises:
        FeatureError: If it is none (RUN_MISSING), or not finished (RUN_UNFINISHED).
        TableError: If a table of it is damaged.
    """
    record = read_record(folder)
    if str(record.get("command", "")) != LYMPH_NODES:
        raise FeatureError(
            f"{folder} holds no output of `histokeras lymph-nodes`.",
            code="RUN_MISSING",
            hint="Give the folder that its -o named.",
        )
    require_ended(folder, record)
    settings = record.get("settings") or {}
    known = {field.name for field in dataclasses.fields(NodeRules)}
    rules = NodeRules(**{name: value for name, value in settings.items() if name in known})
    slides = _table(folder / "slides.csv", (SLIDE_ID, PATIENT_ID, *_FACTS))
    nodes = _table(folder / "nodes.csv", (SLIDE_ID, *NODE_COLUMNS))
    nodes["metastatic"] = nodes["metastatic"].astype(np.bool_)
    return LymphFolder(folder, settings, rules, slides, nodes)


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    texts = (SLIDE_ID, PATIENT_ID, "outcome", "size_class")
    try:
        table = read_own(path, dtype=dict.fromkeys(texts, str))
    except (OSError, ValueError) as error:
        raise TableError(
            f"{path} cannot be read: {error}.", hint="Run lymph-nodes anew."
        ) from error
    require_columns(table, columns, name=path.name)
    for name in set(texts) & set(table):
        table[name] = table[name].fillna("")
    return table
