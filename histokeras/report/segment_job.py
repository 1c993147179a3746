"""What ``segment`` does, and how it went."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from histokeras.files import safe_name
from histokeras.runs.shard import Shard, Share
from histokeras.slides.inventory import SlideRow, pseudonym_of
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.tiles.segmenter import Segmenter

COMMAND = "segment"


@dataclass(frozen=True, kw_only=True)
class SegmentJob:
    """What is segmented, how, and where to.

    Attributes:
        segmenter: The network.
        slides: Slides and pictures with distinct ids.
        output: The output folder.
        everywhere: Whether glass is segmented too.
        probability: Whether probabilities are written too.
        least_um2: Smaller areas are not outlined, in square micrometres; in pixels where the mpp is
            unknown.
        table: What the slide table says.
        patients: slide_id -> patient_id, as far as it is told.
        default_mpp: For slides that do not tell.
        overwrite: Whether finished slides are segmented anew.
        shard: Which part of the slides to take; None for all.
        left_out: Slides that were not wanted, as run.json lists them.
        pseudonyms: By which outputs name the slides; None for their own names.
    """

    segmenter: Segmenter
    slides: Sequence[Path]
    output: Path
    everywhere: bool = False
    probability: bool = False
    least_um2: float = 20.0
    table: Mapping[str, SlideRow] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    default_mpp: float | None = None
    overwrite: bool = False
    shard: Shard | None = None
    left_out: Sequence[Mapping[str, Any]] = ()
    pseudonyms: Pseudonyms | None = None

    def slide_id(self, path: Path) -> str:
        """Return the slide_id of a slide as outputs have it."""
        return pseudonym_of(path, self.pseudonyms)

    @property
    def share(self) -> Share:
        """All slides, and which of them are taken."""
        return Share([self.slide_id(path) for path in self.slides], self.shard)

    def mask_path(self, slide_id: str) -> Path:
        """Return where the class mask of a slide lies."""
        return self.output / f"{safe_name(f'{slide_id}.mask')}.tif"

    @property
    def settings(self) -> dict[str, Any]:
        """What the outputs of a folder have in common."""
        # How many windows are computed at once changes no more than last bits.
        windows = {k: v for k, v in asdict(self.segmenter.windows).items() if k != "batch_size"}
        return {
            "segmenters": list(self.segmenter.digests),
            "classes": list(self.segmenter.classes),
            "positive": self.segmenter.positive,
            "mpp": self.segmenter.mpp,
            "windows": windows,
            "everywhere": self.everywhere,
            "least_um2": self.least_um2,
        }
