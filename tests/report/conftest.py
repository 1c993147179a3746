"""Run folders made up in the shapes that ``fit-head`` writes."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.slides.synthetic import paint_slide


def estimate(
    value: float | None, half: float = 0.06, n: int = 40, note: str = ""
) -> dict[str, Any]:
    """An Estimate as metrics.json holds it."""
    low, high = (None, None) if value is None else (max(-1, value - half), min(1, value + half))
    return {
        "value": value, "low": low, "high": high, "n_patients": n, "n_resamples": 2000,
        "redrawn": 0, "note": note,
    }  # fmt: skip


def aggregation(
    classes: list[str], positive: str | None, counts: Any, auc: float
) -> dict[str, Any]:
    ranked = [positive] if positive else classes
    matrix = np.array(counts)
    shares = (matrix / matrix.sum(axis=1, keepdims=True)).tolist()
    return {
        "auc": estimate(auc), "auc_of": positive or "macro",
        "auc_per_class": {name: estimate(auc) for name in ranked},
        "pr_auc": estimate(auc - 0.03),
        "pr_auc_per_class": {name: estimate(auc - 0.03) for name in ranked},
        "balanced_accuracy": estimate(auc - 0.07), "accuracy": estimate(auc - 0.06),
        "f1_macro": estimate(auc - 0.08),
        "f1_per_class": {name: estimate(auc - 0.08) for name in classes},
        "sensitivity_at_specificity": {n: estimate(auc - 0.2) for n in ranked}, "specificity": 0.9,
        "brier": estimate(0.11), "ece": estimate(0.04, 0.02),
        "confusion": {"counts": matrix.tolist(), "row_shares": shares},
    }  # fmt: skip


def baseline(title: str, auc: float, network: float) -> dict[str, Any]:
    keys = ("auc", "balanced_accuracy", "accuracy", "f1_macro")
    return {
        "title": title,
        **{key: estimate(auc) for key in keys},
        "difference": {key: estimate(network - auc, 0.07) for key in keys},
    }


def level_figures(
    classes: list[str], positive: str | None, *, level: str, counts: Any, auc: float = 0.933
) -> dict[str, Any]:
    matrix = np.array(counts)
    n_per_class = dict(zip(classes, matrix.sum(axis=1).tolist(), strict=True))
    n = int(matrix.sum())
    names = ("probability",) if level == "tile" else ("mean_probability", "share_of_tiles")
    return {
        "evaluated": True, "n": n, "n_unlabelled": 0, "n_patients": 40,
        "n_per_class": n_per_class,
        "n_patients_per_class": dict.fromkeys(classes, 20),
        "prevalence": {name: count / n for name, count in n_per_class.items()},
        "base_rate": max(n_per_class.values()) / n, "resampled_by": "patient", "note": "",
        "aggregations": {
            name: aggregation(classes, positive, counts, auc - 0.01 * i)
            for i, name in enumerate(names)
        },
        "calibration": {
            "before": {"brier": estimate(0.15), "ece": estimate(0.11)},
            "after": {"brier": estimate(0.11), "ece": estimate(0.04, 0.02)},
        },
        "baselines": {
            "majority": baseline("most frequent class", 0.5, auc),
            "colour": baseline("six colour numbers", 0.712, auc),
            "floor": baseline("colour and texture", 0.801, auc),
        },
        "verdict": {
            "beaten": True,
            "text": "The network beats colour and texture: AUC higher by 0.132 [0.062, 0.202].",
        },
        "folds": None,
    }  # fmt: skip


def curves(names: list[str]) -> dict[str, Any]:
    x = np.linspace(0, 1, 101)
    roc, pr = {}, {}
    for i, name in enumerate(names):
        y = x ** (0.12 + 0.06 * i)
        band = {"low": np.clip(y - 0.07, 0, 1).tolist(), "high": np.clip(y + 0.05, 0, 1).tolist()}
        roc[name] = {"fpr": x.tolist(), "tpr": y.tolist(), "auc": 0.933 - 0.02 * i, **band}
        p = 1 - 0.6 * x ** (5 - i)
        band = {"low": [None, *(p[1:] - 0.06)], "high": [None, *np.clip(p[1:] + 0.04, 0, 1)]}
        pr[name] = {
            "recall": x.tolist(), "precision": p.tolist(), "ap": 0.91, "base_rate": 1 / 3, **band,
        }  # fmt: skip
    edges = (np.arange(15) + 0.5) / 15
    full = [float(item) if item > 0.45 else None for item in edges]

    def bins(shift: float) -> dict[str, Any]:
        values = [None if item is None else min(1.0, max(0.0, item - shift)) for item in full]
        return {
            "confidence": full, "accuracy": values, "n": [0 if v is None else 8 for v in values],
            "low": [None if v is None else max(0.0, v - 0.1) for v in values],
            "high": [None if v is None else min(1.0, v + 0.1) for v in values],
        }  # fmt: skip

    return {
        "n": 120,
        "roc": roc,
        "pr": pr,
        "calibration": {"before": bins(0.15), "after": bins(0.02)},
    }


def record(classes: list[str], level: str) -> dict[str, Any]:
    return {
        "command": "fit-head", "status": "done", "started": "2026-03-04T09:51:41+00:00",
        "ended": "2026-03-04T09:52:41+00:00",
        "config": {"features": "feats", "labels": "labels.csv", "head": "linear", "folds": None},
        "versions": {"python": "3.11.7", "histokeras": "0.1.0", "tensorflow": "2.21.0",
                     "keras": "3.15.0", "scikit-learn": "1.6.0"},
        "hardware": {"system": "Linux x86_64", "processor": "AMD EPYC", "cores": 2,
                     "instructions": ["avx", "avx2"]},
        "inputs": {
            "labels": "ab" * 32, "level": level,
            "head options": {"head": "linear", "class_weight": "balanced", "epochs": 100,
                             "batch_size": 64, "learning_rate": 0.001, "patience": 10, "seed": 0},
        },
        "note": "",
        "features": {"settings": {
            "backbone": "inceptionv3", "weights": "imagenet", "weights_sha256": "cd" * 32,
            "ready_made": False, "tile_size_px": 299, "tile_mpp": 0.5, "tile_max_background": 0.25,
            "tile_tissue": "luminance", "precision": "float32",
        }},
        "labels": {"level": level, "classes": classes},
        "split": {"signed": True, "sha256": "ef" * 32, "unit": "patient_id", "seed": 0,
                  "shares": [60, 20, 20], "target": "label", "stratify": [], "note": ""},
        "funnel": {"patients in the table": 212, "labelled": 206, "with slide": 201,
                   "with features": 200, "used": 200},
        "n_dropped": 12, "slides": [],
        "command_line": "histokeras fit-head feats/ --labels labels.csv -o run/",
        "temperature": 1.43,
    }  # fmt: skip


def history(epochs: int = 30, seed: int = 0) -> pd.DataFrame:
    rng, steps = np.random.default_rng(seed), np.arange(1, epochs + 1)
    val = 0.42 + 0.6 * np.exp(-steps / 5) + 0.004 * np.maximum(0, steps - 18)
    val = val + rng.normal(0, 0.006, epochs)
    return pd.DataFrame({
        "epoch": steps, "loss": 0.3 + 0.8 * np.exp(-steps / 6), "accuracy": 0.9, "val_loss": val,
        "val_balanced_accuracy": 0.85 - 0.3 * np.exp(-steps / 5),
        "val_auc": 0.93 - 0.3 * np.exp(-steps / 4), "best": val == val.min(),
    })  # fmt: skip


def units(
    classes: list[str], n: int, unit: str, split: str = "test", patient: str = "P"
) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    targets = np.arange(n) % len(classes)
    logits = rng.normal(0, 1, (n, len(classes)))
    logits[np.arange(n), targets] += 2.2
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame({unit: [f"{patient}{i:03d}" for i in range(n)]})
    table["split"], table["label"] = split, [classes[k] for k in targets]
    for k, name in enumerate(classes):
        table[f"prob_{name}"] = probs[:, k]
    return table


@functools.cache
def _tiles() -> list[Any]:
    slides = [paint_slide(seed=i, size_px=(448, 448), kind="ab"[i % 2]) for i in range(4)]
    return [slide[:224, :224] for slide in slides]


def add_pictures(folder: Path, classes: list[str], each: int = 8, overviews: int = 2) -> None:
    """Procedural tiles, as run folders hold them."""
    (folder / "pictures").mkdir()
    images = _tiles()
    rows = []

    def add(why: str, i: int, label: str, predicted: str, size: int = 224) -> None:
        name = f"{why}-{len(rows):04d}.jpg"
        image = Image.fromarray(np.asarray(images[i % 4], np.uint8)).resize((size, size))
        image.save(folder / "pictures" / name, quality=85)
        rows.append({
            "file": name, "slide_id": f"slide-{i:02d}", "x": 224 * i, "y": 0,
            "patient_id": f"P{i:03d}", "split": "test", "label": label, "predicted": predicted,
            "prob": 0.99 - 0.004 * i, "why": why,
        })  # fmt: skip

    for i in range(overviews):
        add("overview", i, classes[i % len(classes)], "", 640)
    for k, name in enumerate(classes):
        for i in range(each):
            add("sample", i + k, name, name)
            add("right", i + k, name, name)
            add("wrong", i + k, name, classes[(k + 1) % len(classes)])
    pd.DataFrame(rows).to_csv(folder / "pictures.csv", index=False)


EMPTY = {
    "patients.csv": "patient_id,split,label", "slides.csv": "slide_id,patient_id,split,label",
    "split.csv": "patient_id,split", "dropped.csv": "kind,id,reason", "duplicates.csv": "kind",
}  # fmt: skip
"""Tables that every run holds, here without a row."""


def write(folder: Path, run: dict[str, Any], metrics: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    for name, header in EMPTY.items():
        (folder / name).write_text(f"{header}\n")


def metrics_of(
    classes: list[str], positive: str | None, label_level: str, levels: dict[str, Any]
) -> dict[str, Any]:
    return {
        "note": "", "patient_safe": True, "classes": classes, "positive": positive,
        "label_level": label_level, "n_resamples": 2000, "alpha": 0.05, "seed": 0,
        "splits": {"test": levels},
    }  # fmt: skip


def build_tile_run(folder: Path, classes: list[str], *, pictures: bool = True) -> Path:
    """A run of three classes, labelled by tile; slides and patients hold tiles of all classes."""
    counts = [[36, 3, 1], [4, 34, 2], [1, 2, 37]]
    mixed = {"evaluated": False, "reason": "40 of 40 patients carry more than one label"}
    levels = {
        "patient": mixed,
        "slide": dict(mixed, reason="40 of 40 slides carry more than one label"),
        "tile": level_figures(classes, None, level="tile", counts=counts),
    }
    write(folder, record(classes, "tile"), metrics_of(classes, None, "tile", levels))
    (folder / "curves.json").write_text(json.dumps({"tile": curves(classes)}), encoding="utf-8")
    history().to_csv(folder / "history.csv", index=False)
    (folder / "predictions").mkdir()
    tiles = units(classes, 120, "tile", patient="tile-")
    tiles.to_csv(folder / "predictions" / "all.csv", index=False)
    if pictures:
        add_pictures(folder, classes)
    return folder


def build_patient_run(folder: Path, classes: list[str] | None = None) -> Path:
    """A run of two classes, labelled by patient, with five folds."""
    classes = classes or ["MSI-H", "MSS"]
    counts = [[17, 3], [4, 16]]
    patient = level_figures(classes, classes[0], level="patient", counts=counts)
    patient["folds"] = [
        {"fold": i, "n": 8, "auc": 0.9 + 0.01 * i if i else None, "balanced_accuracy": 0.85,
         "accuracy": 0.86, "f1_macro": 0.84}
        for i in range(5)
    ]  # fmt: skip
    levels = {
        "patient": patient,
        "slide": {**patient, "verdict": {"beaten": True, "text": ""}},
        "tile": {"evaluated": False, "reason": "labels stand at the patient level"},
    }
    run = record(classes, "patient")
    run["split"] |= {"folds": 5}
    run["temperature"] = [1.2, 1.3, 1.25, 1.4, 1.1]
    write(folder, run, metrics_of(classes, classes[0], "patient", levels))
    content = curves(classes[:1])
    (folder / "curves.json").write_text(json.dumps({"patient": content}), encoding="utf-8")
    for i in range(5):
        (folder / "folds" / str(i)).mkdir(parents=True)
        history(24 + i, i).to_csv(folder / "folds" / str(i) / "history.csv", index=False)
    units(classes, 40, "patient_id").to_csv(folder / "patients.csv", index=False)
    pd.DataFrame(
        {"kind": ["row", "patient"], "id": ["P9", "P8"], "reason": ["no label", "no slide"]}
    ).to_csv(folder / "dropped.csv", index=False)
    return folder


@pytest.fixture
def tile_run(tmp_path: Path) -> Path:
    return build_tile_run(tmp_path / "lung tiles", ["adenocarcinoma", "benign", "squamous"])


@pytest.fixture
def patient_run(tmp_path: Path) -> Path:
    return build_patient_run(tmp_path / "msi")


@pytest.fixture
def change() -> Callable[..., None]:
    """Change what stands at a path of keys in a JSON file of a run."""

    def apply(path: Path, *keys: Any, value: Any) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        path.write_text(json.dumps(content), encoding="utf-8")

    return apply
