"""A folder as ``fit-segmenter`` leaves it: blobs, a network that misses their rims, two floors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from histokeras.analysis.segmentation import image_row
from histokeras.analysis.segmentation_table import patient_table
from histokeras.analysis.segmentation_units import evaluate_segmentation
from histokeras.types import IGNORE, Mpp

CLASSES = ("other", "necrosis")
Mask = npt.NDArray[np.uint8]


def blobs(rng: np.random.Generator, side_px: int, share: float) -> Mask:
    """Return round regions that take about a share of the pixels."""
    field = gaussian_filter(rng.normal(size=(side_px, side_px)), side_px / 10)
    if share <= 0:
        return np.zeros(field.shape, np.uint8)
    return (field > np.quantile(field, 1 - share)).astype(np.uint8)


def spoilt(rng: np.random.Generator, truth: Mask, noise: float) -> Mask:
    """Return the regions with wandering rims: 0 leaves them as they are."""
    side_px = len(truth)
    field = gaussian_filter(truth.astype(float), side_px / 60)
    field += noise * 8 * gaussian_filter(rng.normal(size=truth.shape), side_px / 25)
    return (field > 0.5).astype(np.uint8)


def tissue(rng: np.random.Generator, truth: Mask) -> npt.NDArray[np.uint8]:
    """Return a picture in which necrosis is paler and pinker."""
    image = np.where(truth[..., np.newaxis] == 1, (225, 160, 190), (170, 110, 170))
    return np.clip(image + rng.normal(0, 14, image.shape), 0, 255).astype(np.uint8)


def write_run(
    folder: Path,
    *,
    n_patients: int = 6,
    side_px: int = 48,
    floors: tuple[str, ...] = ("colour", "otsu"),
    empty: int = 0,
    share: float = 0.25,
) -> dict[str, Any]:
    """Write a finished run of two images a patient; return its metrics."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(2 * n_patients):
        truth = blobs(rng, side_px, 0.0 if i < empty else share * rng.uniform(0.4, 1.6))
        labelled = truth.copy()
        labelled[:4] = IGNORE
        row: dict[str, Any] = {
            "image_id": f"img{i:02d}", "slide_id": f"s{i // 2}", "patient_id": f"p{i // 2}",
            "fold": i // 2 % 3,
        }  # fmt: skip
        said = spoilt(rng, truth, 0.15 + 0.05 * (i % 4))
        row |= image_row(labelled, said, 0.1 + 0.8 * said, CLASSES, "necrosis", Mpp(2.0))
        for k, floor in enumerate(floors):
            worse = spoilt(rng, truth, 0.6 + 0.2 * k)
            row |= image_row(labelled, worse, None, CLASSES, "necrosis", Mpp(2.0), model=floor)
        rows.append(row)
        _draw(folder / "pictures" / str(row["image_id"]), tissue(rng, truth), labelled, said)
    images = pd.DataFrame(rows)
    write_tables(folder, images, CLASSES, "necrosis")
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def _draw(stem: Path, image: npt.NDArray[np.uint8], truth: Mask, said: Mask) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(stem.with_name(stem.name + ".jpg"), quality=85)
    Image.fromarray(truth).save(stem.with_name(stem.name + ".truth.png"))
    Image.fromarray(said).save(stem.with_name(stem.name + ".predicted.png"))


def write_tables(
    folder: Path, images: pd.DataFrame, classes: tuple[str, ...], positive: str | None
) -> None:
    """Write all but the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    images.to_csv(folder / "images.csv", index=False)
    patient_table(images, classes, positive).to_csv(folder / "patients.csv", index=False)
    metrics = evaluate_segmentation(images, classes, positive, n_resamples=200)
    _write(folder / "metrics.json", metrics)
    n = len(images)
    _write(folder / "run.json", {
        "command": "fit-segmenter", "status": "done", "started": "2026-03-01T14:05:59+00:00",
        "command_line": "histokeras fit-segmenter images --masks masks -o run",
        "config": {"epochs": 8, "learning_rate": 0.001},
        "funnel": {"images found": n + 4, "with mask": n + 1, "used": n},
        "split": {"folds": 3}, "versions": {"histokeras": "0.1.0"}, "hardware": {"cpus": 2},
        "notes": ["One mask is smaller than its image."],
    })  # fmt: skip
    pd.DataFrame(
        [("image", f"x{i}", "no mask of this name") for i in range(4)],
        columns=["kind", "id", "reason"],
    ).to_csv(folder / "dropped.csv", index=False)
    epochs = np.arange(1, 9)
    curves = [
        pd.DataFrame({
            "epoch": epochs, "loss": 1 / epochs + 0.1, "val_loss": 1.1 / epochs + 0.2,
            "val_iou": 0.85 - 0.5 / (epochs + fold), "best": epochs == 5 + fold, "fold": fold,
        })
        for fold in range(3)
    ]  # fmt: skip
    # As training goes: one file, folds one after the other.
    pd.concat(curves).to_csv(folder / "history.csv", index=False)
    for fold in range(3):
        place = folder / "folds" / str(fold) / "segmenter"
        place.mkdir(parents=True, exist_ok=True)
        _write(place / "model.json", {
            "network": "deeplabv3", "backbone": "resnet50", "output_stride": 16, "crop_px": 256,
            "mpp": 2.0, "weights": "imagenet", "classes": list(classes), "positive": positive,
        })  # fmt: skip


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
