"""What a run is, as far as its page needs to know. Without TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.errors import FeatureError, TableError
from histokeras.foreign.folders import require_no_links_out
from histokeras.foreign.text import printable
from histokeras.models.catalog import BAG_HEADS, STAIN_TEXTURE
from histokeras.runs.record import read_object, read_record, require_ended
from histokeras.tables import read_own
from histokeras.types import CLASSIFICATION, REGRESSION, TILE


@dataclass(frozen=True)
class RunFacts:
    """What a run is.

    Attributes:
        folder: The run folder.
        cards: The card of each head.
    """

    folder: Path
    cards: Sequence[Mapping[str, Any]]

    @property
    def card(self) -> Mapping[str, Any]:
        """Card of the first head."""
        return self.cards[0]

    @property
    def features(self) -> Mapping[str, Any]:
        """How its features were made."""
        return self.card.get("features") or {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of the outputs; none for regression."""
        return tuple(str(name) for name in self.card.get("classes") or ())

    @property
    def is_number(self) -> bool:
        """Whether it predicts a number."""
        return str(self.card.get("task", CLASSIFICATION)) == REGRESSION

    @property
    def is_bags(self) -> bool:
        """Whether its head judges a slide or patient as a whole."""
        return self.card.get("head") in BAG_HEADS

    @property
    def ready_made(self) -> bool:
        """Whether it was made of ready-made tiles."""
        return bool(self.features.get("ready_made"))

    @property
    def mpp(self) -> float | None:
        """Micrometres per pixel of its tiles, as the network saw them; None if unknown."""
        known = self.features.get("tile_mpp", self.card.get("tiles_mpp"))
        return float(known) if isinstance(known, (int, float)) else None

    @property
    def why_no_tile(self) -> str:
        """Why no single tile can be predicted; "" if it can."""
        if self.is_number:
            return f"This run predicts a number ({self.card.get('target')}), no classes."
        if self.is_bags:
            return (
                "This run judges a slide or patient as a whole (attention over all its tiles): it "
                "has nothing to say of a single tile."
            )
        if self.features.get("backbone") == STAIN_TEXTURE.name:
            return "This run stands on plain numbers of colour and texture: it has no network."
        if "weights_sha256" not in self.features:
            return "This run was made on features of another tool, which is needed for a new tile."
        return ""

    @property
    def of_tiles(self) -> bool:
        """Whether its labels are of single tiles: of a patient it says nothing as a whole."""
        return self.card.get("level") == TILE

    @property
    def why_no_slide(self) -> str:
        """Why no slide can be shown; "" if it can."""
        if self.is_number:
            return f"This run predicts a number ({self.card.get('target')}): there is no class map."
        return ""

    @property
    def lines(self) -> list[str]:
        """What is known of the run, for the head of the page."""
        heads = f", mean of {len(self.cards)} heads" if len(self.cards) > 1 else ""
        side, mpp = self.features.get("tile_size_px", "?"), self.mpp
        tile = f"{side} px" + (f" at {mpp:g} µm per pixel" if mpp is not None else "")
        what = self.card.get("target") if self.is_number else ", ".join(self.classes)
        lines = [
            f"{what} · network {self.features.get('backbone', 'unknown')}{heads} · tiles of {tile}"
        ]
        if not self.is_number:
            lines.append(_calibration(self.cards))
        notes = dict.fromkeys(str(card["note"]) for card in self.cards if card.get("note"))
        return [printable(line, one_line=True) for line in (*lines, *notes)]


def _calibration(cards: Sequence[Mapping[str, Any]]) -> str:
    notes = dict.fromkeys(
        str(card["temperature_note"]).removeprefix("not scaled: ")
        for card in cards
        if card.get("temperature_note")
    )
    if notes:
        return f"Probabilities are not calibrated: {'; '.join(notes)}."
    found = [float(card.get("temperature", 1.0)) for card in cards]
    low, high = min(found), max(found)
    said = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
    return f"Probabilities are calibrated by temperature scaling (temperature {said})."


def read_facts(run: Path) -> RunFacts:
    """Read what a run is.

    Args:
        run: What ``fit-head -o`` or ``finetune -o`` was given.

    Raises:
        FeatureError: If it is none, not finished or damaged, or a link leads out of it.
    """
    require_no_links_out(run)
    require_ended(run, read_record(run))
    folds = sorted(run.glob("folds/[0-9]*/head"), key=lambda path: int(path.parent.name))
    cards = [card for head in folds or [run / "head"] if (card := read_object(head / "model.json"))]
    if not cards or not (run / "metrics.json").is_file():
        raise FeatureError(
            f"{run} holds no finished run.",
            code="RUN_MISSING",
            hint="Name a folder that `histokeras fit-head` or `finetune` wrote.",
        )
    return RunFacts(run, cards)


def read_text_table(path: Path) -> pd.DataFrame:
    """Return a table of ours, all text; empty if the file is not there or holds no rows.

    Raises:
        TableError: If it cannot be read.
    """
    if not path.is_file() or path.stat().st_size <= 1:
        return pd.DataFrame()
    try:
        return read_own(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise TableError(f"{path.name} of this run cannot be read.") from error
