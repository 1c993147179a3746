"""Open the segmenter of a run, or the mean of those of its folds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from histokeras.errors import ConfigError, FeatureError
from histokeras.models.devices import choose_strategy, gpu_numbers
from histokeras.models.segmenter_file import read_segmenter, read_segmenter_card
from histokeras.models.segmenters import UNET
from histokeras.runs.record import read_record, require_ended
from histokeras.tiles.segmenter import Segmenter
from histokeras.tiles.windows import GRID_PX
from histokeras.training.windows import Windows, average, predictor, windows_of

_CARD = "model.json"
_SAME = ("classes", "positive", "mpp", "n_inputs", "crop_px", "network")


def segmenter_folders(run: Path) -> list[Path]:
    """Return where the segmenters of a run lie: one, or one a fold.

    Args:
        run: A run folder of ``fit-segmenter``, or the folder of a segmenter itself.

    Raises:
        FeatureError: If there is none (RUN_MISSING).
    """
    if (run / _CARD).is_file():
        return [run]
    folds = run.glob("folds/[0-9]*/segmenter")
    found = sorted(
        (folder for folder in folds if (folder / _CARD).is_file()),
        key=lambda folder: int(folder.parent.name),
    )
    if (run / "segmenter" / _CARD).is_file():
        return [run / "segmenter"]
    if not found:
        raise FeatureError(
            f"{run} holds no segmenter.",
            code="RUN_MISSING",
            hint="Name a folder that `histokeras fit-segmenter` wrote; that of a search is its "
            "best/.",
        )
    return found


def open_segmenter(
    run: str | Path,
    *,
    window_px: int | None = None,
    overlap_px: int | None = None,
    batch_size: int = 4,
    gpus: str = "all",
) -> Segmenter:
    """Open the segmenter of a run; those of several folds are averaged, as ``predict`` does.

    Args:
        run: A run folder of ``fit-segmenter``, or the folder of a segmenter itself.
        window_px: Side of the windows; None for what suits the network.
        overlap_px: By how much they overlap; None likewise.
        batch_size: Windows computed at once.
        gpus: ``all``, ``cpu`` or a number: one device computes, the first of them.

    Raises:
        ConfigError: If a GPU is asked for that is not here, or the windows are impossible.
        FeatureError: If there is none, the run has not finished, or its folds do not fit together.
    """
    run = Path(run)
    require_ended(run, read_record(run))
    folders = segmenter_folders(run)
    # Before the weights: a slip in an option is told at once.
    windows = _windows(read_segmenter_card(folders[0])[1], window_px, overlap_px, batch_size)
    numbers = gpu_numbers(gpus)
    device = f"/gpu:{numbers[0]}" if numbers else "/cpu:0"
    predicts, cards = [], []
    with choose_strategy(str(numbers[0]) if numbers else "cpu").scope():
        for folder in folders:
            model, card = read_segmenter(folder)
            predicts.append(predictor(model, batch_size, device=device))
            cards.append(card)
    _require_alike(run, cards)
    return Segmenter(
        predict=average(predicts),
        classes=tuple(cards[0]["classes"]),
        positive=cards[0]["positive"],
        mpp=cards[0]["mpp"],
        digests=tuple(sorted(str(card["segmenter_sha256"]) for card in cards)),
        windows=windows,
    )


def _windows(
    card: dict[str, Any], window_px: int | None, overlap_px: int | None, batch_size: int
) -> Windows:
    pools_all = card["network"] != UNET
    windows = windows_of(card["crop_px"], pools_all=pools_all, batch_size=batch_size)
    if window_px is not None:
        if window_px % GRID_PX:
            raise ConfigError(
                f"`window_px` is a multiple of {GRID_PX}. Received: window_px={window_px}"
            )
        own, windows = windows, windows_of(window_px, pools_all=True, batch_size=batch_size)
        if not pools_all:
            # Beyond the overlap of its own windows it gains nothing.
            overlap = min(own.overlap_px, windows.overlap_px)
            windows = replace(windows, overlap_px=overlap, rim_px=None)
    if overlap_px is not None:
        rim = overlap_px // 6 if pools_all else None
        windows = replace(windows, overlap_px=overlap_px, rim_px=rim)
    return windows


def _require_alike(run: Path, cards: list[dict[str, Any]]) -> None:
    odd = [name for name in _SAME if any(card[name] != cards[0][name] for card in cards)]
    if odd:
        raise FeatureError(
            f"the segmenters of {run} differ in {', '.join(odd)}.",
            code="RUN_MIXED",
            hint="They are of different runs: fit them again into one folder.",
        )
