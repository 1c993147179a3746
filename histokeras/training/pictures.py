"""Pictures of a run: some tiles of each class, the most confident right and wrong ones, slides."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histokeras.features.extras import TileExtras
from histokeras.features.index import FeatureIndex
from histokeras.features.store import read_extras, read_features
from histokeras.files import prepare_folder, safe_name, write_bytes, write_csv
from histokeras.training.results import Predicted
from histokeras.types import ATTENTION, CLASSIFICATION, LABEL, PATIENT_ID, SLIDE_ID, SPLIT, TILE

COLUMNS = ("file", SLIDE_ID, TILE, "x", "y", PATIENT_ID, SPLIT, LABEL, "predicted", "prob", "why")
_RIGHT, _WRONG, _SAMPLE, _OVERVIEW = "right", "wrong", "sample", "overview"
_CONFIDENT, _SAMPLES, _UNLABELLED, _OVERVIEWS = 8, 12, 24, 12
_LOW, _HIGH, _EXTREMES = "low", "high", 12
_EACH_SLIDE = 2
_IMAGE = "_image"


def write_pictures(
    folder: Path, index: FeatureIndex, predicted: Predicted, *, seed: int = 0
) -> int:
    """Write ``pictures/`` and ``pictures.csv``: what the report shows of the tissue.

    Of the tiles that feature files hold pictures of (at most 64 a slide), those of the test side:
    a random sample of each class, and of each class the most confident right and wrong ones. Where
    there are no labels, a sample and the most confident ones of each predicted class. Of predicted
    numbers and risks the tiles with the lowest and the highest ones. Of bags, whose tiles all bear
    the same, those with most attention. And a few slides with their tiles.

    Args:
        folder: The run folder.
        index: The feature files.
        predicted: Tiles with probabilities.
        seed: Of the sample.

    Returns:
        How many pictures were written; 0 where feature files hold none, and then no file.

    Raises:
        OutputError: If they cannot be written.
    """
    tiles, slides, images = _pictured(index, predicted)
    if not images:
        return 0
    tested = tiles[tiles[SPLIT] == "test"] if (tiles[SPLIT] == "test").any() else tiles
    on_test = slides[slides[SLIDE_ID].isin(set(tested[SLIDE_ID]))]
    choose = _chosen if predicted.task == CLASSIFICATION else _extremes
    parts = [*choose(tested, seed), on_test.head(_OVERVIEWS)]
    chosen = pd.concat([part for part in parts if len(part)], ignore_index=True)
    prepare_folder(folder / "pictures")
    files: dict[int, str] = {}
    for image, slide, tile in zip(chosen[_IMAGE], chosen[SLIDE_ID], chosen[TILE], strict=True):
        if image not in files:
            name = safe_name(str(slide) or Path(str(tile)).stem)[:60]
            files[image] = f"pictures/{len(files):04d}_{name}.jpg"
            write_bytes(folder / files[image], images[image])
    chosen["file"] = chosen[_IMAGE].map(files)
    columns = [*COLUMNS, *([] if predicted.attention is None else [ATTENTION])]
    write_csv(folder / "pictures.csv", chosen.reindex(columns=columns))
    return len(files)


def _pictured(
    index: FeatureIndex, predicted: Predicted
) -> tuple[pd.DataFrame, pd.DataFrame, list[bytes]]:
    """Return the tiles and the slides of which there is a picture, and the pictures."""
    tiles, slides, images = [], [], list[bytes]()
    rows = predicted.rows
    for (file, part), (_, table) in zip(rows.of_files(), predicted.tables(), strict=True):
        extras = read_extras(index.paths[file])
        if extras is None:
            continue
        at = np.flatnonzero(np.isin(rows.row[part], list(extras.pictures)))
        mine = _described(table.iloc[at].reset_index(drop=True), predicted)
        mine[_IMAGE] = np.arange(len(images), len(images) + len(at))
        if TILE not in table:
            coords = read_features(index.paths[file], vectors=False).tiles
            mine[["x", "y"]] = coords[["x", "y"]].to_numpy(object)[rows.row[part][at]]
        tiles.append(mine)
        images += [extras.pictures[int(row)] for row in rows.row[part][at]]
        slides.append(_overview(table, extras, predicted, images))
    if not tiles:
        empty = pd.DataFrame(columns=[*COLUMNS, _IMAGE])
        return empty, empty, images
    return pd.concat(tiles, ignore_index=True), pd.concat(slides, ignore_index=True), images


def _described(table: pd.DataFrame, predicted: Predicted) -> pd.DataFrame:
    scores = table[predicted.columns].to_numpy()
    names = np.asarray(predicted.classes, object)
    described = pd.DataFrame("", index=range(len(table)), columns=list(COLUMNS), dtype=object)
    for name in (SLIDE_ID, TILE, PATIENT_ID, SPLIT, LABEL):
        if name in table:
            described[name] = table[name].to_numpy(object)
    if predicted.task == CLASSIFICATION:
        described["predicted"] = names[scores.argmax(axis=1)]
        described["prob"] = scores.max(axis=1).astype(np.float64).round(4)
    else:
        described["predicted"] = [float(f"{number:.5g}") for number in scores[:, 0]]
    if predicted.attention is not None:
        described[ATTENTION] = table[ATTENTION].astype(np.float64).round(6)
    return described


def _overview(
    table: pd.DataFrame, extras: TileExtras, predicted: Predicted, images: list[bytes]
) -> pd.DataFrame:
    if extras.overview is None:
        return pd.DataFrame(columns=[*COLUMNS, _IMAGE])
    row = _described(table.iloc[[0]].reset_index(drop=True), predicted)
    images.append(extras.overview)
    blank = [name for name in ("predicted", "prob", ATTENTION) if name in row]
    return row.assign(why=_OVERVIEW, **dict.fromkeys(blank, ""), **{_IMAGE: len(images) - 1})


def _chosen(tiles: pd.DataFrame, seed: int) -> list[pd.DataFrame]:
    """Return the tiles to show, each group with the reason in ``why``."""
    ranks = [name for name in ("prob", ATTENTION) if name in tiles]
    ordered = tiles.sort_values(ranks, ascending=False, kind="stable")
    shuffled = tiles.sample(frac=1, random_state=seed)
    labelled = (tiles[LABEL] != "").any()
    key, n_samples = (LABEL, _SAMPLES) if labelled else ("predicted", _UNLABELLED)
    parts: list[Any] = []
    for _, group in shuffled[shuffled[key] != ""].groupby(key, sort=True):
        parts.append(group.head(n_samples).assign(why=_SAMPLE))
    for _, group in ordered[ordered[key] != ""].groupby(key, sort=True):
        if not labelled:
            parts.append(group.head(_UNLABELLED).assign(why=_SAMPLE))
            continue
        right = group["predicted"] == group[LABEL]
        parts.append(_varied(group[right]).head(_CONFIDENT).assign(why=_RIGHT))
        parts.append(_varied(group[~right]).head(_CONFIDENT).assign(why=_WRONG))
    return parts


def _extremes(tiles: pd.DataFrame, seed: int) -> list[pd.DataFrame]:
    """Return the tiles with the lowest and the highest numbers; nothing is drawn at random."""
    if ATTENTION in tiles:
        # The tiles of a bag have one number: those that weigh most first.
        tiles = tiles.sort_values(ATTENTION, ascending=False, kind="stable")
    ordered = tiles.sort_values("predicted", kind="stable")
    falling = tiles.sort_values("predicted", ascending=False, kind="stable")
    ends = ((_LOW, ordered), (_HIGH, falling))
    # Few tiles: none is both.
    most = min(_EXTREMES, len(tiles) // 2)
    return [_varied(end).head(most).assign(why=why) for why, end in ends]


def _varied(ordered: pd.DataFrame) -> pd.DataFrame:
    """Move to the end what comes after the first two tiles of a slide: not all from one slide."""
    source = ordered[SLIDE_ID].where(ordered[SLIDE_ID] != "", ordered[PATIENT_ID])
    later = ordered.groupby(source).cumcount() >= _EACH_SLIDE
    return pd.concat([ordered[(~later).to_numpy()], ordered[later.to_numpy()]])
