"""The page of a segmentation: what stands on it, what is left out, what is warned of."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.analysis.segmentation import PixelCounts, counts_row
from histokeras.analysis.segmentation_units import evaluate_segmentation
from histokeras.errors import FeatureError, TableError
from histokeras.report.page import write_report
from histokeras.report.pictures import Picture
from histokeras.report.segmentation_page import told_segmentation
from histokeras.report.segmentation_pictures import (
    PREDICTED_COLOUR,
    TRUTH_COLOUR,
    outline_galleries,
)
from histokeras.report.segmentation_tables import levels_of
from histokeras.report.segmentation_words import segmentation_cautions
from tests.report.segmentation_run import CLASSES, write_run, write_tables


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmentation")
    write_run(folder)
    write_report(folder)
    return folder


def test_the_page_tells_figures_floors_and_shares(run: Path) -> None:
    page = run / "report.html"
    html = page.read_text(encoding="utf-8")
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    dice = metrics["models"]["network"]["pooled"]["dice"]
    assert f"Dice of necrosis {dice['value']:.3f} [{dice['low']:.3f}, {dice['high']:.3f}]" in html
    assert "The network is shown better than Otsu on haematoxylin" in html
    assert "calling every pixel other would get" in html
    for section in ("outlines", "figures", "baselines", "shares", "training", "cohort"):
        assert f'<section id="{section}"' in html
    assert "no mask of this name" in html
    assert "DeepLabV3 on resnet50 (weights: imagenet; output stride 16)" in html
    assert len(page.read_bytes()) < 5_000_000
    assert "<script" not in html
    for name in ("dice", "scatter", "history"):
        data = json.loads((run / "report" / f"{name}.json").read_text(encoding="utf-8"))
        assert data["made_by"] == "histokeras report"
    drawn = pd.read_csv(run / "report" / "dice.csv")
    assert drawn["network_dice"].is_monotonic_increasing
    assert len(drawn) == 12


def test_each_fold_has_its_curve(run: Path) -> None:
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "3 folds, one line each" in html
    history = pd.read_csv(run / "report" / "history.csv")
    assert history.groupby("fold")["epoch"].apply(list).tolist() == [list(range(1, 9))] * 3


def test_speckled_masks_do_not_paint_the_picture_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((300, 300), np.uint8)
    truth[100:200, 100:200] = 1
    said = (rng.random(truth.shape) < 0.15 + 0.7 * truth).astype(np.uint8)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (300, 300), (200, 150, 190)).save(tmp_path / "pictures" / "a.jpg")
    Image.fromarray(truth).save(tmp_path / "pictures" / "a.truth.png")
    Image.fromarray(said).save(tmp_path / "pictures" / "a.predicted.png")
    images = pd.DataFrame({"image_id": ["a"], "network_dice": [0.8]})
    metrics = {"classes": list(CLASSES), "positive": "necrosis"}

    (gallery,) = outline_galleries(tmp_path, images, metrics, 10**7)

    (shown,) = gallery.pictures
    assert shown.lines[-1] == "the network's many specks are drawn smoothed"
    data = base64.b64decode(shown.source.partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    blue = pixels[..., 2] - pixels[..., 0] > 90
    # One line around the square, of some 4 x 240 pixels.
    assert 0.5 * 4 * 4 * 240 < blue.sum() < 3 * 4 * 4 * 240


def test_pictures_show_both_outlines_worst_first(run: Path) -> None:
    html = (run / "report.html").read_text(encoding="utf-8")
    images = pd.read_csv(run / "images.csv").sort_values("network_dice")["image_id"].tolist()
    shown = re.findall(r'alt="Outlines of truth and network on image (\w+)', html)
    assert shown == [*images[:3], *shown[3:6], *images[:-4:-1]]
    assert set(shown[3:6]) <= set(images[3:-3])
    encoded = re.findall(r"data:image/jpeg;base64,([^\"]+)", html)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded[0]))).convert("RGB"))
    assert max(picture.shape) == 720
    for colour in (TRUTH_COLOUR, PREDICTED_COLOUR):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        near = (np.abs(picture.astype(int) - wanted).max(axis=2) < 40).mean()
        assert 0.005 < near < 0.3


def test_pictures_shrink_or_go_where_there_is_no_room(run: Path) -> None:
    images = pd.read_csv(run / "images.csv")
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))

    def drawn(most_bytes: int) -> list[Picture]:
        found = outline_galleries(run, images, metrics, most_bytes)
        return [picture for gallery in found for picture in gallery.pictures]

    large = drawn(10**7)
    assert {picture.width for picture in large} == {720}
    less = sum(picture.n_bytes for picture in large) - 1
    small = drawn(less)
    assert len(small) == len(large)
    assert {picture.width for picture in small} == {560}
    assert drawn(1000) == []


def test_pictures_of_another_size_or_none_are_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, n_patients=2)
    Image.new("L", (7, 7)).save(tmp_path / "pictures" / "img00.truth.png")
    (tmp_path / "pictures" / "img01.jpg").write_bytes(b"no picture")
    (tmp_path / "pictures" / "img02.jpg").unlink()

    html = write_report(tmp_path).read_text(encoding="utf-8")

    assert re.findall(r'alt="Outlines of truth and network on image (\w+)', html) == ["img03"]


def test_of_small_regions_the_part_is_shown_where_both_differ_most(tmp_path: Path) -> None:
    dots = np.zeros((200, 200), np.uint8)
    dots[5::20, 5::20] = 1
    dots = np.maximum(dots, np.roll(dots, 1, axis=0))
    said = dots.copy()
    said[150:190, 10:50] = 0
    picture = np.full((200, 200, 3), 120, np.uint8)
    picture[150:190, 10:50] = (0, 160, 0)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(picture).save(tmp_path / "pictures" / "a.jpg", quality=95)
    for name, mask in (("truth", dots), ("predicted", said)):
        # Masks with a palette are read by their numbers.
        saved = Image.fromarray(mask, "P")
        saved.putpalette([200, 0, 0, 90, 90, 90])
        saved.save(tmp_path / "pictures" / f"a.{name}.png")
    images = pd.DataFrame({"image_id": ["a"], "network_dice": [0.8]})
    metrics = {"classes": list(CLASSES), "positive": "necrosis"}

    (gallery,) = outline_galleries(tmp_path, images, metrics, 10**7)

    (shown,) = gallery.pictures
    assert shown.lines[-1] == "the part of it where both differ most"
    data = base64.b64decode(shown.source.partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    # 50 x 50 pixels, of which 40 x 40 were missed.
    green = (pixels[..., 1] - pixels[..., 0] > 80).mean()
    assert 0.5 < green < 0.65


@pytest.mark.parametrize(("said", "word"), [(0, "nothing"), (1, "all")])
def test_a_network_without_a_line_is_told_in_words(tmp_path: Path, said: int, word: str) -> None:
    truth = np.zeros((90, 90), np.uint8)
    truth[20:70, 20:70] = 1
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (90, 90), (200, 150, 190)).save(tmp_path / "pictures" / "a.jpg")
    Image.fromarray(truth).save(tmp_path / "pictures" / "a.truth.png")
    Image.new("L", (90, 90), said).save(tmp_path / "pictures" / "a.predicted.png")
    images = pd.DataFrame({"image_id": ["a"], "network_dice": [0.3]})
    metrics = {"classes": list(CLASSES), "positive": "necrosis"}

    (gallery,) = outline_galleries(tmp_path, images, metrics, 10**7)

    assert gallery.pictures[0].lines[2:] == (f"the network marks {word} that is shown",)


def test_another_page_is_told_one_line_and_one_table(run: Path) -> None:
    text, (table,) = told_segmentation(run)
    assert text.startswith("On 12 test images of 6 patients: Dice of necrosis 0.")
    assert [row[0] for row in table.rows] == [
        "This network", "Colour alone, smoothed", "Otsu on haematoxylin, smoothed",
        "Other everywhere",
    ]  # fmt: skip


def _codes(folder: Path) -> list[str]:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    card = {"weights": "random:0"}
    return [caution.code for caution in segmentation_cautions(metrics, card)]


def test_warnings_of_few_patients_empty_images_and_a_rare_class(tmp_path: Path) -> None:
    write_run(tmp_path, n_patients=3, empty=2, share=0.06)
    assert _codes(tmp_path) == ["few-patients", "random-weights", "absent", "rare"]
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Not known whether the network is better than" in html
    assert "2 of 6 test images show no necrosis" in html


def test_a_floor_that_does_as_well_is_warned_of(run: Path) -> None:
    images = pd.read_csv(run / "images.csv")
    for column in [name for name in images if name.startswith("network_")]:
        images[column.replace("network", "otsu")] = images[column]
    metrics = evaluate_segmentation(images, CLASSES, "necrosis", n_resamples=50)
    codes = [caution.code for caution in segmentation_cautions(metrics, {})]
    assert codes == ["otsu-not-beaten", "few-shares"]


def test_many_classes_without_one_of_interest_have_no_shares(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(30):
        counts = rng.integers(1, 50, (3, 3)) + np.diag([200, 300, 90])
        rows.append({"image_id": f"<b>{i}", **counts_row(PixelCounts(counts), ("a", "b", "c"),
                                                         None)})  # fmt: skip
    write_tables(tmp_path, pd.DataFrame(rows), ("a", "b", "c"), None)

    html = write_report(tmp_path).read_text(encoding="utf-8")

    assert "On 30 test images: mean IoU 0." in html
    assert "The images&#39; patients are not known" in html
    assert '<section id="shares"' not in html
    assert '<section id="outlines"' not in html
    assert "<b>" not in html


def test_means_that_are_the_same_stand_once(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    # A slide a patient, two images each.
    assert list(levels_of(metrics)) == ["pooled", "unit_mean", "image_mean"]


def test_damaged_folders_say_what_is_wrong(tmp_path: Path) -> None:
    write_run(tmp_path, n_patients=2)
    images = (tmp_path / "images.csv").read_bytes()
    (tmp_path / "images.csv").unlink()
    with pytest.raises(TableError, match=r"images\.csv cannot be read"):
        write_report(tmp_path)
    (tmp_path / "images.csv").write_bytes(images)
    (tmp_path / "metrics.json").write_text('{"task": "segmentation"}', encoding="utf-8")
    with pytest.raises(FeatureError, match="damaged"):
        write_report(tmp_path)
