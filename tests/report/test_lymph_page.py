import html
import json
import re
import urllib.parse
from pathlib import Path

import pytest

from histokeras.errors import ConfigError, FeatureError
from histokeras.files import write_json, write_text
from histokeras.report.lymph_page import told_lymph
from histokeras.report.page import write_report
from histokeras.report.text import DASH
from tests.report.lymph_folder import write_folder

HOSTILE = "<script>alert(1)</script>"
# Of the specification: areas 100, 1000, 500 with tumour 50, 5, 0.
THREE = [(100.0, 50.0, "macro"), (1000.0, 5.0, "macro"), (500.0, 0.0, "")]


def _words(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))


def test_a_patients_page_shows_how_its_figures_follow(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ln", {"P1": [("S1", THREE[:2]), ("S2", THREE[2:])]})

    write_report(folder)

    page = folder / "patients" / "P1.html"
    words = _words(page)
    assert "pN1: 2 of 3 lymph nodes metastatic, T/MLN 25.2 %." in words
    assert "T/MLN (mean): mean of 2 shares = (50.0 + 0.5) / 2 = 25.2 %." in words
    assert "T/MLN (pooled): 55.0 mm² / 1100 mm² = 5.0 %." in words
    assert "Fewer than 16 nodes were examined" in words
    assert "2 pieces below 0.5 mm² did not count as nodes." in words
    assert "75.0 % of the slide's tiles lie in no node" in words
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert 'href="../S2.jpg"' in text
    assert 'href="../report.html"' in text


def test_patients_stand_by_their_ratio_and_no_metastasis_is_no_zero(tmp_path: Path) -> None:
    patients = {
        "P0": [("A", [(5.0, 0.0, "")] * 17)],
        "P1": [("B", [(5.0, 1.0, "macro")])],
        "P2": [("C", [(5.0, 2.0, "macro"), (4.0, 0.02, "ITC")])],
        "P3": [("D", [])],
        "P4": [("E", None), ("F", [(5.0, 0.5, "not resolved")])],
    }
    folder = write_folder(tmp_path / "ln", patients, cutoff=0.3)

    page = write_report(folder)

    text, words = page.read_text(encoding="utf-8"), _words(page)
    links = re.findall(r'href="patients/(P\d)\.html"', text)
    assert links == ["P2", "P1", "P4", "P0", "P3"]
    assert "3 of 5 patients with metastatic lymph nodes: T/MLN 20.0 % in the median" in words
    assert "high is a T/MLN (mean) above 30.0 %" in words
    row = re.search(rf"P0\s+pN0\s+0\s+17\s+{DASH}\s+{DASH}\s+0\.0\s+0\s+no metastasis", words)
    assert row is not None
    assert "no lymph node was found in 1 patient" in words
    assert "pNX" in words
    assert "1 slide could not be measured" in words
    assert "Nodes on slides of P4 are missing" in words
    assert "size of metastases was not resolved in 1 node" in words
    assert "E SLIDE_DAMAGED" in " ".join(words.split())
    none = _words(folder / "patients" / "P0.html")
    assert "there is no T/MLN, which is not the same as 0" in none
    assert "may be too low" not in none
    lost = _words(folder / "patients" / "P4.html")
    assert "1 slide could not be measured (E)" in lost
    assert "S" not in (folder / "patients" / "P3.html").stem
    assert "pNX: no lymph node was found." in _words(folder / "patients" / "P3.html")


def test_names_are_text_and_links_stay_inside(tmp_path: Path) -> None:
    patient, slide = f"../{HOSTILE}", 'javascript:alert(1)"'
    folder = write_folder(tmp_path / "ln", {patient: [(slide, THREE)]})

    page = write_report(folder)

    inside = list((folder / "patients").iterdir())
    assert len(inside) == 1
    for path in (page, *inside):
        text = path.read_text(encoding="utf-8")
        assert HOSTILE not in text
        links = re.findall(r'href="([^"#]+)"', text)
        assert not [link for link in links if link.startswith("javascript:")]
        targets = [path.parent / _plain(link) for link in links if link != "data:,"]
        assert targets
        assert all(target.is_file() for target in targets)


def _plain(link: str) -> str:

    return urllib.parse.unquote(html.unescape(link))


def test_slides_without_a_patient_have_no_stages(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ln", {"": [("S1", THREE)]})

    page = write_report(folder)

    assert "3 lymph nodes, 2 of them metastatic; no patient is known." in _words(page)
    assert not (folder / "patients").exists()


def test_pages_of_patients_who_are_gone_are_removed_and_no_others(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ln", {"P1": [("S1", THREE)], "P2": [("S2", THREE)]})
    write_report(folder)
    own = folder / "patients" / "own.html"
    own.write_text("<p>mine</p>")
    write_folder(folder, {"P1": [("S1", THREE)]})

    write_report(folder)

    assert sorted(path.name for path in own.parent.iterdir()) == ["P1.html", "own.html"]
    (folder / "patients" / "P1.html").write_text("<p>mine</p>")
    with pytest.raises(ConfigError, match="would be replaced"):
        write_report(folder)


def test_pages_of_two_folders_in_one_place_keep_their_patients_apart(tmp_path: Path) -> None:
    pages = []
    for name, nodes in (("a", THREE), ("b", THREE[2:])):
        folder = write_folder(tmp_path / name, {"P1": [("S1", nodes)]})
        pages.append(write_report(folder, tmp_path / f"{name}.html"))

    for page, figure in zip(pages, ("pN1: 2 of 3", "pN0: 0 of 1"), strict=True):
        (link,) = re.findall(r'href="([^"]*P1\.html)"', page.read_text())
        assert figure in _words(tmp_path / link)


def test_the_rules_are_told(tmp_path: Path) -> None:
    settings = {
        "nodes": "segmenter", "tumour": "classifier", "tile_class": "TUM", "tile_px": 256,
        "tile_mpp": 0.5, "stride_um": 160.0, "itc_stride_um": 0.0, "threshold": 0.5,
    }  # fmt: skip
    folder = write_folder(tmp_path / "ln", {"P1": [("S1", THREE)]}, **settings)

    words = _words(write_report(folder))

    assert "Found by a segmentation network, at 10 µm per pixel; from 0.5 mm²" in words
    assert "Touching nodes are parted at their neck." in words
    assert "Probability of TUM above 0.5; tiles of 128 µm every 160 µm" in words
    # 1 - (128 / 160)^2 = 0.36, as the original left unseen.
    assert "36 % of a node is never seen" in words
    assert "From 0.01 mm² of tumour" in words


def test_an_unfinished_folder_has_no_page(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ln", {"P1": [("S1", THREE)]})
    record = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**record, "status": "running"})
    with pytest.raises(FeatureError, match="no finished lymph nodes"):
        write_report(folder)
    write_json(folder / "run.json", {**record, "settings": None})
    with pytest.raises(FeatureError, match="damaged"):
        write_report(folder)


def test_a_study_tells_the_stages(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "ln", {"P1": [("S1", THREE)], "P2": [("S2", THREE[2:])]})
    write_text(folder / "S1.geojson", "{}")

    says, tables = told_lymph(folder)

    assert says == "1 of 2 patients with metastatic lymph nodes: T/MLN 25.2 %."
    assert [list(row) for row in tables[0].rows] == [["pN0", "1", DASH], ["pN1", "1", "25.2 %"]]
