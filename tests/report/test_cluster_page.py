import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.analysis.clustering import agreement, compare_agreement
from histokeras.errors import FeatureError
from histokeras.files import write_csv, write_json
from histokeras.report.page import write_report

HOSTILE = "<script>alert(1)</script>"


def clusters_folder(folder: Path, follow: str, n: int = 80) -> Path:
    """A folder of `cluster` whose clusters are the sites (or labels) of all but every ninth."""
    folder.mkdir()
    rng = np.random.default_rng(2)
    table = pd.DataFrame({
        "patient_id": [f"P{i:03d}{HOSTILE}" for i in range(n)],
        "split": np.where(np.arange(n) % 3 == 0, "test", "train"), "n_tiles": 10,
        "label": rng.choice(["high", "low"], n), "site": rng.choice(["A", "B"], n),
    })  # fmt: skip
    clusters = table[follow].isin(["high", "A"]).to_numpy().astype(int)
    clusters[::9] = 1 - clusters[::9]
    table["share_0"] = np.where(clusters == 0, 0.8, 0.1)
    table["share_1"] = 1 - table["share_0"]
    sides: dict[str, Any] = {}
    for side, kept in (("all", table["n_tiles"] > 0), ("test", table["split"] == "test")):
        found = {
            name: agreement(clusters[kept].tolist(), table.loc[kept, name].tolist())
            for name in ("label", "site")
        }
        sides[side] = {"tile": {**found, "slide_id": found["label"]}, "patient": found}
    columns = (table[name].tolist() for name in ("site", "label"))
    metrics = {
        "method": "dkm-a", "n_clusters": 2, "note": "", "n_tiles": {"train": 500, "test": 300},
        "cluster_tiles": [450, 350], "agreement": {"dkm-a": sides, "kmeans": sides},
        "site_or_label": compare_agreement(clusters.tolist(), *columns),
    }  # fmt: skip
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "run.json", {"command": "cluster", "status": "done", "config": {"k": 2}})
    write_csv(folder / "patients.csv", table)
    for name in ("map.png", "gallery.png"):
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), np.uint8)).save(folder / name)
    return folder


def test_the_page_warns_of_clusters_that_follow_the_site(tmp_path: Path) -> None:
    folder = clusters_folder(tmp_path / "c", "site")

    page = write_report(folder)

    html = page.read_text(encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert page == folder / "report.html"
    assert "The clusters agree more with the site than with the label." in html
    assert 'id="caution-site"' in html
    patients = metrics["agreement"]["dkm-a"]["test"]["patient"]["site"]
    assert re.search(rf"site, of 27 patients.*?{patients['ari']:.3f}", html, re.DOTALL)
    # The test side comes first.
    assert html.index("On test") < html.index("On all sides")
    assert html.count('src="data:image/jpeg') == 2
    assert "<script" not in html
    assert " style=" not in html
    assert "80 patients of all sides: too many for names" in html
    n = pd.read_csv(folder / "patients.csv")["label"].value_counts()
    assert html.index(f"high: {n['high']} patients") < html.index(f"low: {n['low']} patients")


def test_the_page_says_no_more_than_its_figures(tmp_path: Path) -> None:
    by_label = write_report(clusters_folder(tmp_path / "label", "label")).read_text()
    few = write_report(clusters_folder(tmp_path / "few", "site", n=12)).read_text()

    assert "The clusters agree more with the label than with the site." in by_label
    assert "caution-site" not in by_label
    assert "12 labelled patients: too few" in few
    assert "caution-site" not in few
    # Few patients bear their names.
    assert "P011&lt;script&gt;" in few


def test_clusters_without_anything_known_have_a_page(tmp_path: Path) -> None:
    folder = clusters_folder(tmp_path / "c", "label")
    metrics = json.loads((folder / "metrics.json").read_text())
    empty = {"all": {"tile": {}, "patient": {}}}
    unknown = {"agreement": {"dkm-a": empty, "kmeans": None}, "site_or_label": None}
    known = {"cluster_tiles": [800, 0], "kmeans_note": "not fitted"}
    write_json(folder / "metrics.json", {**metrics, **unknown, **known})
    for name in ("patients.csv", "map.png", "gallery.png"):
        (folder / name).unlink()

    html = write_report(folder).read_text()

    assert "There are no labels to compare with: look at what the clusters hold" in html
    assert "hold no pictures" in html
    assert "no use for a cluster without tiles" in html
    assert 'id="shares"' not in html
    write_json(folder / "run.json", {"command": "cluster", "status": "interrupted"})
    with pytest.raises(FeatureError, match="no finished clusters"):
        write_report(folder)
