"""What an explanation of one tile holds. Without TensorFlow."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from histokeras.training.triptych import draw_triptych

METHODS = {
    "grad-cam": "which fields of a layer's map raise the logit (Selvaraju et al. 2017)",
    "integrated-gradients": "which pixels carry it, from white glass to the tile (Sundararajan "
    "et al. 2017)",
    "smoothgrad": "to which pixels it reacts, for or against (Smilkov et al. 2017)",
    "occlusion": "by how much it falls where the tile is covered (Zeiler and Fergus 2014)",
}
"""Ways to explain, each with what its map shows."""
SIGNED = frozenset({"integrated-gradients", "occlusion"})
"""Methods whose maps also hold what speaks against the class, as negative values."""
_FINE = frozenset({"integrated-gradients", "smoothgrad"})
CLEAR_SHARE = 0.1
"""Below this share of positive evidence a map shows hardly anything that speaks for the class."""
_SHOWN, _SHOWN_PX = 24, 900


@dataclass(frozen=True)
class TilePlace:
    """Which tile it is.

    Attributes:
        name: Short and without folders: a tile's file name, or ``<slide_id>_<x>_<y>``.
        slide_id: Its slide; "" if unknown.
        tile: Its file, for ready-made tiles; else "".
        x: Left border in level-0 pixels; None for ready-made tiles.
        y: Upper border in level-0 pixels.
        label: What the run's tables call its slide; "" if unknown.
        split: On which side of the run's split its slide lies; "" if on none.
    """

    name: str
    slide_id: str = ""
    tile: str = ""
    x: int | None = None
    y: int | None = None
    label: str = ""
    split: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Where in a tile the network sees what speaks for a class.

    Attributes:
        place: Which tile.
        image: uint8 (h, w, 3), RGB.
        map: float32 (h, w). 0..1 for grad-cam and smoothgrad, -1..1 for the others (below 0:
            against the class); its largest absolute value is 1, or all is 0.
        class_name: The class explained.
        logit: Its logit.
        prob: Its calibrated probability, 0..1.
        predicted: The most probable class.
        positive_share: Evidence for the class as a share of all evidence, before the map was
            scaled: sum of its positive values by the sum of all absolute ones, 0..1. None for
            smoothgrad, which does not tell for from against.
        method: One of ``METHODS``.
        layer: The layer whose map it is; "" for methods that look at pixels.
    """

    place: TilePlace
    image: npt.NDArray[np.uint8]
    map: npt.NDArray[np.float32]
    class_name: str
    logit: float
    prob: float
    predicted: str
    positive_share: float | None
    method: str
    layer: str

    @property
    def clear(self) -> bool:
        """Whether a noteworthy share of the evidence speaks for the class."""
        return self.positive_share is None or self.positive_share >= CLEAR_SHARE

    @property
    def titles(self) -> tuple[str, str]:
        """Two lines above the picture."""
        share = "" if self.positive_share is None else f" · positive {self.positive_share:.2f}"
        unclear = "" if self.clear else " · NO CLEAR EVIDENCE"
        other = "" if self.predicted == self.class_name else f" (predicted: {self.predicted})"
        where = f"{self.method}, layer {self.layer}" if self.layer else self.method
        says = f"{self.class_name}{other}: probability {self.prob:.2f} · logit {self.logit:.2f}"
        return f"{self.place.name} · {where}", f"{says}{share}{unclear}"

    def picture(self) -> bytes:
        """Return tile, map and overlay beside each other as a PNG."""
        return draw_triptych(
            self.image,
            self.map,
            self.titles,
            signed=self.method in SIGNED,
            clear=self.clear,
            fine=self.method in _FINE,
            most="most for" if self.positive_share is not None else "reacts most",
        )

    def row(self) -> dict[str, Any]:
        """Return what explain.csv says of it."""
        place = self.place
        return {
            "slide_id": place.slide_id,
            "tile": place.tile,
            "x": "" if place.x is None else place.x,
            "y": "" if place.y is None else place.y,
            "split": place.split,
            "label": place.label,
            "class": self.class_name,
            "predicted": self.predicted,
            "prob": round(self.prob, 6),
            "logit": round(self.logit, 6),
            "positive_share": "" if self.positive_share is None else round(self.positive_share, 6),
            "evidence": "" if self.clear else "no clear evidence",
            "method": self.method,
            "layer": self.layer,
        }

    def __repr__(self) -> str:
        return f"Explanation({' · '.join(self.titles)})"

    def _repr_png_(self) -> bytes:
        return self.picture()


@dataclass(frozen=True, eq=False, repr=False)
class Explanations(Sequence[Explanation]):
    """Several explained tiles; a notebook shows them as pictures.

    Attributes:
        tiles: The explanations.
        notes: Remarks for the reader.
    """

    tiles: tuple[Explanation, ...]
    notes: tuple[str, ...] = field(default=())

    def __getitem__(self, i: Any) -> Any:
        return self.tiles[i]

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def table(self) -> pd.DataFrame:
        """One row a tile, as in explain.csv."""
        return pd.DataFrame([tile.row() for tile in self.tiles])

    def __repr__(self) -> str:
        return f"Explanations({len(self)} tiles; .table, or [i].map)"

    def _repr_html_(self) -> str:
        parts = [f"<p>{escape(note)}</p>" for note in self.notes]
        for tile in self.tiles[:_SHOWN]:
            data = base64.b64encode(_shrunk(tile.picture())).decode("ascii")
            alt = escape(" · ".join(tile.titles), quote=True)
            parts.append(f'<img alt="{alt}" src="data:image/png;base64,{data}">')
        if len(self) > _SHOWN:
            parts.append(f"<p>and {len(self) - _SHOWN} more</p>")
        return "\n".join(parts)


def _shrunk(png: bytes) -> bytes:

    with Image.open(io.BytesIO(png)) as image:
        image.thumbnail((_SHOWN_PX, _SHOWN_PX))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
    return buffer.getvalue()
