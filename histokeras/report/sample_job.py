"""What ``sample-tiles`` draws, from which slides, and where to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.tile_predictions import predictions_path, read_slide_predictions
from histokeras.cohort.split_table import Split, apply_split
from histokeras.errors import ConfigError, SlideError, TableError
from histokeras.files import safe_name, sha256_file
from histokeras.report.lymph_inputs import drawn_labels
from histokeras.report.lymph_job import NodeSlide
from histokeras.runs.shard import Shard, Share
from histokeras.slides.annotations import Drawing, Region, read_regions
from histokeras.slides.node_classes import (
    drawn_node_classes,
    drawn_tumour_classes,
    regions_of,
    tumour_class,
)
from histokeras.tiles.sample_places import SampleSpec
from histokeras.types import PATIENT_ID, PROB, SLIDE_ID, SPLIT

COMMAND = "sample-tiles"
ANYWHERE = "*"


@dataclass(frozen=True, kw_only=True)
class HardTiles:
    """Whose tiles may be added because a network mistook them.

    Attributes:
        folder: A run, or a folder of ``predict`` or ``lymph-nodes``.
        slides: slide_ids of train patients that it has predictions of.
        column: Column of its tables with the probability of tumour.
        split: Digest of the split.
    """

    folder: Path
    slides: frozenset[str]
    column: str
    split: str

    def digest(self, slide_id: str) -> str:
        """Return the digest of a slide's predictions."""
        return sha256_file(predictions_path(self.folder, slide_id))

    def suspects(self, slide_id: str) -> pd.DataFrame:
        """Return the tiles of a slide that was predicted: ``minx miny width height prob``."""
        table = read_slide_predictions(slide_id, [self.folder])
        if self.column not in table:
            raise TableError(
                f"predictions of slide `{slide_id}` lack `{self.column}`, which others have.",
                code="PREDICTIONS_MISSING",
            )
        return table.rename(columns={self.column: "prob"})


@dataclass(frozen=True, kw_only=True)
class SampleJob:
    """What is drawn.

    Attributes:
        slides: The slides, with distinct ids; on each the files in which its tumour, and its nodes,
            were drawn.
        output: The output folder.
        tumour: The classes as which tumour was drawn.
        within: The classes of regions that the middle of a tile must lie in; None for anywhere.
        spec: Which tiles are drawn.
        hard: Whose tiles may be added because a network mistook them; None for nobody's.
        default_mpp: For slides that do not tell.
        overwrite: Whether finished slides are drawn from anew.
        workers: Reading threads; the number of cores, at most 8, if None.
        shard: Which part of the slides to take; None for all.
        left_out: Slides that were not wanted, as run.json lists them.
        pseudonyms: Whether slides and patients go by pseudonyms.
    """

    slides: Sequence[NodeSlide]
    output: Path
    tumour: tuple[str, ...]
    within: tuple[str, ...] | None = None
    spec: SampleSpec = field(default_factory=SampleSpec)
    hard: HardTiles | None = None
    default_mpp: float | None = None
    overwrite: bool = False
    workers: int | None = None
    shard: Shard | None = None
    left_out: Sequence[Mapping[str, Any]] = ()
    pseudonyms: bool = False

    @property
    def share(self) -> Share:
        """All slides, and which of them are taken."""
        return Share([one.slide_id for one in self.slides], self.shard)

    def facts_path(self, slide_id: str) -> Path:
        """Return where it is written down that a slide is finished."""
        return self.output / "facts" / f"{safe_name(slide_id)}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What the tiles of a folder have in common."""
        return {
            **asdict(self.spec),
            "tumour": list(self.tumour),
            "within": None if self.within is None else list(self.within),
            "split": None if self.hard is None else self.hard.split,
            "hard_column": None if self.hard is None else self.hard.column,
        }

    def drawn_files(self, slide: NodeSlide) -> tuple[Path, Path | None]:
        """Return where a slide's tumour was drawn, and what encloses its tiles, None for anywhere.

        Raises:
            SlideError: ANNOTATION_MISSING.
        """
        if slide.tumour is None or (slide.nodes is None and self.within is not None):
            what = "tumour" if slide.tumour is None else "nodes"
            raise SlideError(
                f"slide `{slide.slide_id}` has no file of drawn {what}.",
                code="ANNOTATION_MISSING",
                hint="Export one called as the slide; it may hold no region.",
            )
        return slide.tumour, slide.nodes if self.within is not None else None

    def drawings(self, tumour: Path, nodes: Path | None) -> tuple[Drawing, Drawing | None]:
        """Read what was drawn on a slide: tumour, and what encloses the tiles.

        Args:
            tumour: From :meth:`drawn_files`.
            nodes: Likewise.

        Raises:
            SlideError: ANNOTATION_UNREADABLE.
        """
        within = None
        if nodes is not None and self.within is not None:
            within = _drawing(regions_of(read_regions(nodes), self.within))
        return _drawing(regions_of(read_regions(tumour), self.tumour)), within


def _drawing(regions: Sequence[Region]) -> Drawing:
    return Drawing(tuple(regions), tuple(int(not region.erases) for region in regions))


def drawn_classes(
    slides: Sequence[NodeSlide], *, node: str | None, tumour: str | None
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Decide as which classes tumour, and the nodes around the tiles, were drawn.

    Args:
        slides: With their files. One that cannot be read is passed over: its slide fails later.
        node: Class of what encloses the tiles; ``*`` for anywhere; None for lymph nodes, and
            anywhere where none were drawn.
        tumour: Class of tumour; None for its usual names.

    Returns:
        The classes of tumour, and of nodes (None for anywhere).

    Raises:
        ConfigError: If one was not drawn, or several are in question.
    """
    labels = drawn_labels([one.tumour for one in slides]) or set()
    found = drawn_tumour_classes(labels, wanted=tumour)
    if not found:
        raise ConfigError(
            "no tumour is drawn in any file of --annotations: every tile would be normal.",
            hint="Name its class with --tumour-class.",
        )
    if node == ANYWHERE:
        return found, None
    same = all(one.tumour == one.nodes for one in slides)
    nodes = drawn_labels([one.nodes for one in slides]) or set()
    others = nodes - set(found if same else ())
    return found, drawn_node_classes(others, wanted=node) or None


def hard_tiles(job: SampleJob, folder: Path, split: Split, *, column: str | None) -> HardTiles:
    """Settle which slides' mistaken tiles may be added: those of train patients alone.

    Args:
        job: Without hard tiles.
        folder: A run, or a folder of ``predict`` or ``lymph-nodes``.
        split: Who learns.
        column: Class of the predictions that stands for tumour; None for its usual name.

    Raises:
        ConfigError: If the split is not by patient or has folds, or nothing tells which class is
            tumour.
        LeakageError: If a patient lies on two sides.
        TableError: NO_OVERLAP if the split names none of the slides' patients; PREDICTIONS_MISSING
            if there are none of a train patient's slides.
    """
    if split.folds is not None or not split.patient_safe:
        raise ConfigError(
            f"`--hard-from` needs a plain split by patient; this one is "
            f"{split.note or 'of folds'}.",
            hint="Make one with `histokeras split` without --cv.",
        )
    known = [(one.slide_id, one.patient_id) for one in job.slides]
    units = pd.DataFrame(known, columns=[SLIDE_ID, PATIENT_ID], dtype=str)
    placed, _ = apply_split(units, split)
    train = placed.loc[placed[SPLIT] == "train", SLIDE_ID].tolist()
    there = [name for name in train if predictions_path(folder, name).is_file()]
    if not there:
        raise TableError(
            f"{folder} holds no predictions of the {len(train)} slide(s) of train patients.",
            code="PREDICTIONS_MISSING",
            hint="Run `histokeras predict RUN SLIDES -o DIR` on them, and give --hard-from DIR.",
        )
    found = read_slide_predictions(there[0], [folder])
    classes = [str(name).removeprefix(PROB) for name in found if str(name).startswith(PROB)]
    try:
        name = tumour_class(classes, wanted=column)
    except ConfigError as error:
        raise ConfigError(
            f"no telling which class of the predictions is the tumour: they have "
            f"{', '.join(classes)}.",
            hint="Name it with --hard-class.",
        ) from error
    return HardTiles(
        folder=folder, slides=frozenset(there), column=f"{PROB}{name}", split=split.digest
    )
