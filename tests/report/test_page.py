import base64
import hashlib
import html
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.errors import ConfigError, FeatureError
from histokeras.report.page import write_report
from tests.report.conftest import add_pictures, build_patient_run, build_tile_run

NASTY = (
    '"><img src=x onerror=alert(1)>',
    "<script>alert(1)</script> ]]> $\\frac$ _x",
    "_日本 & 'a' \x00\x1b\u202e{{ 7*7 }}",
)
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """All elements and attributes of a page; fails where elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def nasty_run(tmp_path: Path) -> Path:
    folder = build_tile_run(tmp_path / "run <b>&", list(NASTY))
    pictures = pd.read_csv(folder / "pictures.csv", dtype=str)
    pictures["slide_id"], pictures["patient_id"] = NASTY[1], NASTY[0]
    pictures.to_csv(folder / "pictures.csv", index=False)
    pd.DataFrame({"kind": "slide", "id": list(NASTY), "reason": NASTY[0]}).to_csv(
        folder / "dropped.csv", index=False
    )
    return folder


def test_a_page_is_self_contained_and_harmless_whatever_the_names(nasty_run: Path) -> None:
    text = write_report(nasty_run).read_text(encoding="utf-8")

    page = Page(text)
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"script", "iframe", "object", "embed", "form", "base", "b"})
    assert "<script" not in text.lower()
    assert "{{ 7*7 }}" in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    for tag, attributes in page.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not re.search(r"https?://", text)
    assert html.escape(NASTY[0], quote=False).replace('"', "&#34;") in text.replace(
        "&quot;", "&#34;"
    )
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_policy_allows_this_style_block_alone(patient_run: Path) -> None:
    text = write_report(patient_run).read_text(encoding="utf-8")

    policy = next(
        a["content"] or ""
        for a in Page(text).of("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    (style,) = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )


def test_a_page_is_the_same_bytes_each_time(tile_run: Path) -> None:
    first = write_report(tile_run)
    before = {path.name: path.read_bytes() for path in (tile_run / "report").iterdir()}
    page = first.read_bytes()

    assert write_report(tile_run).read_bytes() == page
    assert before == {path.name: path.read_bytes() for path in (tile_run / "report").iterdir()}


def test_pictures_and_plots_speak_to_those_who_cannot_see(tile_run: Path) -> None:
    page = Page(write_report(tile_run).read_text(encoding="utf-8"))

    images = page.of("img")
    assert len(images) == 2 + 3 * 8 + 24 + 24
    assert all(image["alt"] for image in images)
    plots = [svg for svg in page.of("svg") if svg.get("role") == "img"]
    assert len(plots) == 6
    known = {attributes.get("id") for _, attributes in page.elements}
    for plot in plots:
        assert set((plot["aria-labelledby"] or "").split()) <= known
    assert all(svg.get("aria-hidden") or svg.get("role") for svg in page.of("svg"))


def test_two_thousand_pictures_leave_the_page_small_and_are_counted(tile_run: Path) -> None:
    table = pd.read_csv(tile_run / "pictures.csv", dtype=str)
    rng = np.random.default_rng(0)
    # Noise is the worst case: JPEG cannot make it small.
    for path in sorted((tile_run / "pictures").iterdir()):
        Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)).save(path, quality=95)
    many = pd.concat([table] * 28, ignore_index=True).head(2000)
    # As many classes as fill the page with samples.
    many["label"] = [f"class {i % 40}" for i in range(len(many))]
    many.to_csv(tile_run / "pictures.csv", index=False)

    path = write_report(tile_run)

    text = path.read_text(encoding="utf-8")
    shown = len(Page(text).of("img"))
    assert path.stat().st_size < 5_000_000
    assert shown > 100
    assert f"{2000 - shown:,} more pictures" in text


def test_a_picture_from_elsewhere_or_damaged_is_not_shown(tile_run: Path) -> None:
    Image.new("RGB", (8, 8)).save(tile_run.parent / "secret.jpg")
    (tile_run / "pictures" / "bad.jpg").write_bytes(b"no picture")
    rows = {"file": ["../../secret.jpg", "bad.jpg", "gone.jpg"], "why": "sample", "label": "a"}
    pd.DataFrame(rows).to_csv(tile_run / "pictures.csv", index=False)

    text = write_report(tile_run).read_text(encoding="utf-8")

    assert "<img" not in text
    assert "3 more pictures" in text


def test_the_page_says_the_verdict_and_the_figures_of_each_level(patient_run: Path) -> None:
    text = html.unescape(write_report(patient_run).read_text(encoding="utf-8"))

    assert "On 40 test patients: AUC for MSI-H 0.933 [0.873, 0.993]" in text
    assert "The network beats colour and texture" in text
    assert "right in 33 of 40 patients (82 %" in text
    assert "each patient has one slide" in text
    assert "Tile level: not evaluated (labels stand at the patient level)" in text
    assert "Δ +0.132 [0.062, 0.202]" in text
    assert "5 folds, one line each" in text
    assert "No warnings." in text
    assert "For research use only." in text


def test_the_methods_are_those_of_the_run(patient_run: Path, tile_run: Path) -> None:
    folds = html.unescape(write_report(patient_run).read_text(encoding="utf-8"))
    plain = html.unescape(write_report(tile_run).read_text(encoding="utf-8"))

    assert "tiles of 299 x 299 pixels at 0.5 µm per pixel (150 µm side)" in plain
    assert "InceptionV3 with ImageNet weights" in plain
    assert "training, validation and test (60, 20, 20 %), stratified by label (seed 0)" in plain
    assert "Adam (learning rate 0.001, batches of 64)" in plain
    assert "(T = 1.430)" in plain
    assert "tiles of a patient were averaged" not in plain
    assert "divided into 5 folds" in folds
    assert "tiles of a patient were averaged" in folds


def test_plot_data_lie_beside_the_page(tile_run: Path, tmp_path: Path) -> None:
    page = write_report(tile_run, tmp_path / "out" / "lung.html")

    folder = tmp_path / "out" / "lung_files"
    names = ("calibration", "confusion", "history", "pr", "roc", "scores")
    expected = {f"{name}.{ending}" for name in names for ending in ("csv", "json")}
    assert page.parent == folder.parent
    assert {path.name for path in folder.iterdir()} == expected
    roc = pd.read_csv(folder / "roc.csv")
    assert list(roc) == ["level", "class", "fpr", "tpr", "low", "high"]
    assert len(roc) == 3 * 101
    assert pd.read_csv(folder / "confusion.csv")["count"].sum() == 120
    assert len(pd.read_csv(folder / "scores.csv")) == 120
    assert json.loads((folder / "pr.json").read_text())["data"]["tile"]["benign"]["ap"] == 0.91


def test_an_evaluation_of_an_external_cohort_has_a_page(
    patient_run: Path, change: Callable[..., None]
) -> None:
    for name in ("curves.json", "dropped.csv", "patients.csv"):
        (patient_run / name).unlink()
    shutil.rmtree(patient_run / "folds")
    metrics = json.loads((patient_run / "metrics.json").read_text())
    level = metrics["splits"]["test"]["patient"]
    for key in ("calibration", "baselines", "verdict", "folds"):
        del level[key]
    for name in level["aggregations"].values():
        for key in ("confusion", "brier", "ece", "pr_auc", "pr_auc_per_class"):
            del name[key]
    change(patient_run / "metrics.json", "splits", value={"all": {"patient": level}})
    (patient_run / "run.json").write_text(
        json.dumps({"command": "evaluate", "status": "done", "config": {}, "slides": []})
    )

    text = html.unescape(write_report(patient_run).read_text(encoding="utf-8"))

    assert "On 40 patients: AUC for MSI-H 0.933" in text
    assert "holds no data for plots" in text
    assert "All of the cohort was tested" in text
    assert not (patient_run / "report").exists()


def test_a_folder_without_a_finished_run_is_refused(patient_run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FeatureError, match=r"holds no run\.json") as missing:
        write_report(tmp_path / "empty")
    (patient_run / "metrics.json").unlink()
    with pytest.raises(FeatureError, match="did not end") as unfinished:
        write_report(patient_run)

    assert missing.value.code == "RUN_MISSING"
    assert unfinished.value.code == "RUN_UNFINISHED"


def test_a_damaged_file_is_named(patient_run: Path) -> None:
    (patient_run / "curves.json").write_text("{")
    with pytest.raises(FeatureError, match=r"curves\.json is damaged"):
        write_report(patient_run)


def test_pages_and_data_of_others_are_not_replaced(patient_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("<html>my notes</html>")
    with pytest.raises(ConfigError, match="not written by histokeras"):
        write_report(patient_run, tmp_path / "mine.html")
    with pytest.raises(ConfigError, match=r"called something\.html"):
        write_report(patient_run, tmp_path / "labels.csv")
    (patient_run / "report").mkdir()
    (patient_run / "report" / "roc.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"holds roc\.csv of other origin"):
        write_report(patient_run)

    assert (tmp_path / "mine.html").read_text() == "<html>my notes</html>"


def test_the_page_of_another_run_is_not_replaced(
    patient_run: Path, tile_run: Path, tmp_path: Path
) -> None:
    write_report(tile_run)
    before = (tile_run / "report.html").read_bytes()

    with pytest.raises(ConfigError, match="folder of another run"):
        write_report(patient_run, tile_run / "report.html")

    assert (tile_run / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "hint"),
    [("predict", "histokeras evaluate"), ("extract-features", "histokeras fit-head"),
     ("tiles", "tiles.html"), ("segment", "areas.csv"), ("sample-tiles", "tiles.csv")],
)  # fmt: skip
def test_folders_of_other_commands_are_told_what_to_do(
    tmp_path: Path, command: str, hint: str
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"command": command, "status": "done"}))

    with pytest.raises(FeatureError, match=f"output of {command}, not a run.*{hint}"):
        write_report(tmp_path)


def test_a_tile_is_not_called_wrong_where_its_slide_bears_the_label(
    patient_run: Path, tile_run: Path
) -> None:
    add_pictures(patient_run, ["MSI-H", "MSS"])

    of_patients = write_report(patient_run).read_text(encoding="utf-8")
    of_tiles = write_report(tile_run).read_text(encoding="utf-8")

    assert "Wrong" not in of_patients
    assert "none of these is an error by itself" in of_patients
    assert "slide&#39;s label: MSI-H" in of_patients
    assert "✗ Wrong" in of_tiles
    assert "true: benign" in of_tiles


def test_an_object_with_a_folder_is_a_run(tmp_path: Path) -> None:
    class Run:
        folder: Path | None = None

    run = Run()
    with pytest.raises(ConfigError, match="a report is of one run"):
        write_report(run)
    run.folder = build_patient_run(tmp_path / "run")

    assert write_report(run) == tmp_path / "run" / "report.html"
