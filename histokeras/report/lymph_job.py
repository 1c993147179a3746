"""What ``lymph-nodes`` does, and how it went."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from histokeras.analysis.lymph_nodes import NodeRules
from histokeras.analysis.tile_predictions import predictions_path
from histokeras.errors import ConfigError
from histokeras.files import safe_name
from histokeras.runs.shard import Shard, Share
from histokeras.tiles.segmenter import Segmenter
from histokeras.tiles.tile_scorer import TileScorer

COMMAND = "lymph-nodes"
OVERVIEW_MPP = 10.0


@dataclass(frozen=True, kw_only=True)
class NodeSlide:
    """A slide, and what is known of it beforehand.

    Attributes:
        path: The file.
        slide_id: What outputs call it.
        patient_id: Its patient; "" if nobody knows.
        mpp: What the slide table says, micrometres per level-0 pixel; None for nothing.
        nodes: File in which its nodes were drawn; None where there is none, or none is asked for.
        tumour: File in which its tumour was drawn; likewise.
    """

    path: Path
    slide_id: str
    patient_id: str = ""
    mpp: float | None = None
    nodes: Path | None = None
    tumour: Path | None = None


@dataclass(frozen=True, kw_only=True)
class LymphJob:
    """What is measured, how, and where to.

    Attributes:
        slides: The slides, with distinct ids.
        output: The output folder.
        segmenter: The network that finds nodes; None where they were drawn.
        node_classes: Its class of nodes; or the classes as which nodes were drawn.
        scorer: The classifier that finds tumour; None where it was drawn.
        tumour_classes: The classes as which tumour was drawn.
        rules: What counts as a node, and as a metastatic one.
        overview_mpp: Where nodes were drawn, micrometres per pixel of the overview; a segmenter
            has its own.
        stride_um: From one tile to the next, in micrometres.
        itc_stride_um: At which stride nodes with little tumour are read again; 0 for not.
        threshold: Above which probability a place is tumour, 0..1.
        cutoff: T/MLN above which patients are ``high``; None for no groups.
        default_mpp: For slides that do not tell.
        overwrite: Whether finished slides are measured anew.
        shard: Which part of the slides to take; None for all.
        left_out: Slides that were not wanted, as run.json lists them.
        pseudonyms: Whether slides and patients go by pseudonyms.
        readers: Reading threads.
        learned: Patients whom the networks learned from; they are flagged.

    Raises:
        ConfigError: If a number is out of range, or the segmenter has no resolution.
    """

    slides: Sequence[NodeSlide]
    output: Path
    segmenter: Segmenter | None = None
    node_classes: tuple[str, ...] = ()
    scorer: TileScorer | None = None
    tumour_classes: tuple[str, ...] = ()
    rules: NodeRules = field(default_factory=NodeRules)
    overview_mpp: float = OVERVIEW_MPP
    stride_um: float = 64.0
    itc_stride_um: float = 32.0
    threshold: float = 0.5
    cutoff: float | None = None
    default_mpp: float | None = None
    overwrite: bool = False
    shard: Shard | None = None
    left_out: Sequence[Mapping[str, Any]] = ()
    pseudonyms: bool = False
    readers: int = 4
    learned: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        checks = (
            ("stride_um", self.stride_um >= _LEAST_STRIDE_UM, f"is at least {_LEAST_STRIDE_UM} um"),
            (
                "itc_stride_um",
                self.itc_stride_um == 0 or self.itc_stride_um >= _LEAST_STRIDE_UM,
                f"is 0 or at least {_LEAST_STRIDE_UM} um",
            ),
            ("threshold", 0 < self.threshold < 1, "is a probability between 0 and 1"),
            ("overview_mpp", self.overview_mpp > 0, "is above 0 um per pixel"),
            ("readers", self.readers >= 1, "is at least 1"),
        )
        for name, holds, wanted in checks:
            if not holds:
                raise ConfigError(f"`{name}` {wanted}. Received: {name}={getattr(self, name)!r}")
        if self.segmenter is not None and self.segmenter.mpp is None:
            raise ConfigError(
                "the segmenter has no resolution: areas in mm2 cannot be told.",
                hint="Train it on slides, or on images whose mpp is given: fit-segmenter --mpp.",
            )

    @property
    def share(self) -> Share:
        """All slides, and which of them are taken."""
        return Share([slide.slide_id for slide in self.slides], self.shard)

    @property
    def mpp(self) -> float:
        """Micrometres per pixel of the overview that is asked for."""
        if self.segmenter is None or self.segmenter.mpp is None:
            return self.overview_mpp
        return self.segmenter.mpp

    @property
    def reads_again(self) -> bool:
        """Whether nodes with little tumour are read again, at a finer stride."""
        return self.scorer is not None and 0 < self.itc_stride_um < self.stride_um

    def path(self, slide_id: str, what: str) -> Path:
        """Return where a file of a slide lies: ``nodes.png``, ``tumour.png``, ``geojson``, ..."""
        kind, _, suffix = what.rpartition(".")
        return self.output / f"{safe_name(f'{slide_id}.{kind}' if kind else slide_id)}.{suffix}"

    def files(self, slide_id: str) -> dict[str, Path]:
        """Return the outputs of a slide, but the file of facts that says it is finished."""
        found = {what: self.path(slide_id, what) for what in _FILES}
        if self.scorer is not None:
            found[TILES] = predictions_path(self.output, slide_id)
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """What the outputs of a folder have in common."""
        return {
            "nodes": "drawn" if self.segmenter is None else "segmenter",
            "node_classes": list(self.node_classes),
            "overview_mpp": self.mpp,
            **self._of_segmenter(),
            "tumour": "drawn" if self.scorer is None else "classifier",
            "tumour_classes": list(self.tumour_classes),
            **self._of_scorer(),
            **asdict(self.rules),
        }

    def _of_segmenter(self) -> dict[str, Any]:
        if self.segmenter is None:
            return {}
        # How many windows are computed at once changes no more than last bits.
        windows = {k: v for k, v in asdict(self.segmenter.windows).items() if k != "batch_size"}
        return {"segmenters": list(self.segmenter.digests), "windows": windows}

    def _of_scorer(self) -> dict[str, Any]:
        if self.scorer is None:
            return {}
        return {
            "classifiers": list(self.scorer.digests),
            "tile_class": self.scorer.tile_class,
            "tile_px": self.scorer.size_px,
            "tile_mpp": self.scorer.mpp,
            "stain_norm": self.scorer.stain_norm,
            "stride_um": self.stride_um,
            "itc_stride_um": self.itc_stride_um if self.reads_again else 0.0,
            "threshold": self.threshold,
        }


LABELS, TUMOUR, OUTLINES, PICTURE = "nodes.png", "tumour.png", "geojson", "jpg"
TILES, FACTS = "tiles", "lymph.json"
_FILES = (LABELS, TUMOUR, OUTLINES, PICTURE)
_LEAST_STRIDE_UM = 8.0
