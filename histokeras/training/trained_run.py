"""A trained run: its heads, how its features were made, and what fits them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histokeras.errors import ConfigError, FeatureError, MissingError
from histokeras.features.job import ExtractJob
from histokeras.features.settings import require_same_settings, stain_norm_of
from histokeras.foreign.folders import require_no_links_out
from histokeras.models.model_file import read_card
from histokeras.models.weights import FINETUNED, TUNED_FILE
from histokeras.runs.record import (
    read_record,
    require_ended,
)
from histokeras.tiles.grid import TileSpec
from histokeras.types import (
    CLASSIFICATION,
    REGRESSION,
    SURVIVAL,
    Mpp,
)

_TILE = "tile_"
_MISMATCH = {"backbone": "DIM_MISMATCH", "weights_sha256": "DIM_MISMATCH",
             "tile_mpp": "MPP_MISMATCH"}  # fmt: skip


@dataclass(frozen=True)
class TrainedRun:
    """The heads of a run: one, or one a fold, whose probabilities are averaged.

    Attributes:
        folder: The run folder.
        card: Card of the (first) head.
        folders: Folders of the heads.
        digests: SHA-256 of the weights of each.
    """

    folder: Path
    card: Mapping[str, Any]
    folders: Sequence[Path]
    digests: Sequence[str]

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the outputs; none for regression."""
        return tuple(self.card["classes"])

    @property
    def task(self) -> str:
        """What was learned."""
        return str(self.card.get("task", CLASSIFICATION))

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the heads give: a probability of each class, or the target's number."""
        return (str(self.card["target"]),) if self.task == REGRESSION else self.classes

    @property
    def settings(self) -> dict[str, Any]:
        """How its features were made."""
        return dict(self.card.get("features") or {})

    @property
    def ready_made(self) -> bool:
        """Whether it learned from ready-made tiles."""
        return bool(self.settings.get("ready_made"))

    @property
    def tiles_mpp(self) -> float | None:
        """At which resolution it saw ready-made tiles, um per pixel; None if that is not known."""
        known = self.card.get("tiles_mpp")
        return float(known) if isinstance(known, (int, float)) else None

    @property
    def tile_spec(self) -> TileSpec:
        """How its slides were cut; of ready-made tiles what slides would be cut into."""
        tile = {
            key.removeprefix(_TILE): value
            for key, value in self.settings.items()
            if key.startswith(_TILE)
        }
        return TileSpec(**{**tile, "mpp": Mpp(tile.get("mpp", self.tiles_mpp or 0.5))})


def open_run(run: Path) -> TrainedRun:
    """Read the card of a run.

    Args:
        run: What ``fit-head -o`` was given.

    Raises:
        FeatureError: If it holds no head, is not finished, or its folds do not belong together.
        ConfigError: If it is one of survival.
    """
    require_no_links_out(run)
    require_ended(run, read_record(run))
    folds = sorted(run.glob("folds/[0-9]*/head"), key=lambda path: int(path.parent.name))
    folders = folds or [run / "head"]
    cards = [read_card(folder) for folder in folders]
    if not (run / "metrics.json").is_file():
        raise FeatureError(
            f"the run in {run} is not finished.",
            code="RUN_UNFINISHED",
            hint="Give the same command again that began it.",
        )
    if cards[0].get("task") == SURVIVAL:
        raise ConfigError(
            f"{run} is a run of survival, which this command does not know.",
            hint="Its risks stand in patients.csv and predictions/, its figures in report.html.",
        )
    same = ("task", "target", "classes", "features", "n_features", "split_sha256", "n_folds")
    alike = all(card.get(key) == cards[0].get(key) for card in cards[1:] for key in same)
    if not alike or len(folders) != (cards[0].get("n_folds") or 1):
        raise FeatureError(f"the folds of {run} do not belong together.", code="CLASS_MISMATCH")
    return TrainedRun(run, cards[0], folders, [card["head_sha256"] for card in cards])


def extract_job_of(
    run: TrainedRun,
    inputs: Sequence[Path],
    output: Path,
    *,
    weights: str | None = None,
    **slides: Any,
) -> ExtractJob:
    """Return the extraction that a run's new slides need: its own network, tiles and weights.

    Args:
        run: The run.
        inputs: Slides or folders.
        output: Where the features go.
        weights: Path of the weights file, if the run used one.
        slides: ``slide_table``, ``default_mpp``, ``recursive``, ``annotations``, ``choice``.

    Raises:
        FeatureError: If the run was made on foreign features or ready-made tiles.
        MissingError: If the run used weights that are not in it, and none are given.
    """
    source, settings, spec = weights_of(run, weights), run.settings, run.tile_spec
    ready_made = bool(settings["ready_made"])
    return ExtractJob(
        inputs=inputs,
        output=output,
        backbone=settings["backbone"],
        weights=source,
        spec=spec,
        size_px=spec.size_px,
        ready_made=ready_made,
        resize=bool(settings.get("resize")),
        precision=settings["precision"],
        compute_batch=settings["compute_batch"],
        dtype=settings["dtype"],
        stain_norm=stain_norm_of(settings),
        **slides,
    )


def weights_of(run: TrainedRun, weights: str | None = None) -> str:
    """Return where the weights of a run's backbone are, as ``find_weights`` takes it.

    Args:
        run: The run.
        weights: What the user gave; wins.

    Raises:
        FeatureError: If the run was made on features of another tool.
        MissingError: If the run used weights that are not in it, and none are given.
    """
    settings = run.settings
    if "weights_sha256" not in settings:
        raise FeatureError(
            "this run was made on features of another tool; histokeras cannot extract the same.",
            code="CONFIG_MISMATCH",
            hint="Extract them with that tool and give their folder.",
        )
    known = str(settings["weights"])
    if weights is not None or known not in ("file", FINETUNED):
        return weights or known
    if known == FINETUNED and (run.folder / TUNED_FILE).is_file():
        return str(run.folder / TUNED_FILE)
    what = "a weights file" if known == "file" else "a fine-tuned backbone"
    way = "that file" if known == "file" else "that run of `histokeras finetune`"
    raise MissingError(
        f"this run's features were made with {what} (sha256 {settings['weights_sha256'][:12]}...).",
        code="WEIGHTS_MISSING",
        hint=f"Give {way} with --weights PATH.",
    )


def require_fitting(run: TrainedRun, settings: Mapping[str, Any], *, where: str) -> None:
    """Refuse features that the run's head was not trained on.

    Raises:
        FeatureError: Naming what differs: DIM_MISMATCH for those of another network or weights,
            however long, MPP_MISMATCH for another resolution, else CONFIG_MISMATCH.
    """
    try:
        require_same_settings(
            settings,
            run.settings,
            where=where,
            hint="Extract them as the run did: `histokeras predict RUN SLIDES` does so by itself.",
        )
    except FeatureError as error:
        differing = (c for k, c in _MISMATCH.items() if settings.get(k) != run.settings.get(k))
        code = next(differing, error.code)
        raise FeatureError(error.message, code=code, hint=error.hint) from error
