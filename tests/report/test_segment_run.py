import json
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from histokeras.errors import ConfigError
from histokeras.report.segment_job import SegmentJob
from histokeras.report.segment_run import patient_areas, segment_slides
from histokeras.report.segment_slide import segment_slide
from histokeras.runs.shard import Shard
from histokeras.slides.geojson import fill_polygons, read_polygons
from histokeras.slides.mask_tiff import read_class_mask
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic import write_pyramid
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.tiles.segmenter import Segmenter
from histokeras.tiles.windows import Windows

PINK, DARK, GLASS = (220, 150, 200), (90, 40, 120), (245, 245, 245)
BOX = (301, 157, 463, 402)
"""Left, top, right, bottom of the dark area in level-0 pixels, on no grid."""


def _predict(images: np.ndarray) -> np.ndarray:
    """Dark is positive: what has no context must lie on the image to the pixel."""
    share = 1 / (1 + np.exp((images.mean(axis=-1, dtype=np.float32) - 130) / 8))
    return np.stack([1 - share, share], axis=-1).astype(np.float32)


NETWORK = Segmenter(
    predict=_predict,
    classes=("other", "necrosis"),
    positive="necrosis",
    mpp=0.5,
    digests=("x",),
    windows=Windows(size_px=128, overlap_px=32, batch_size=2),
)


def write_slide(
    path: Path, mpp: float | None = 0.25, *, size: tuple[int, int] = (700, 900)
) -> Path:
    """Pink tissue with a dark box, 40 px of glass around."""
    pixels = np.full((*size, 3), GLASS, np.uint8)
    pixels[40:-40, 40:-40] = PINK
    left, top, right, bottom = BOX
    pixels[top:bottom, left:right] = DARK
    write_pyramid(path, pixels, mpp=mpp, downsamples=(3,), lossless=True)
    return path


def job(lab: Path, *slides: Path, **changes: Any) -> SegmentJob:
    known = {
        "segmenter": NETWORK,
        "slides": slides,
        "output": lab / "out",
    }
    return SegmentJob(**{**known, **changes})


@pytest.mark.parametrize("mpp", [0.5, 0.25, 0.33, 0.75, None])
def test_mask_and_outline_lie_on_the_image_to_one_pixel(tmp_path: Path, mpp: float | None) -> None:
    """Levels read 1:1, levels shrunk by whole numbers and by others, the slide's own pixels."""
    network = Segmenter(**{**vars(NETWORK), "mpp": mpp})
    one = job(tmp_path, segmenter=network, least_um2=0)
    one.output.mkdir()
    with open_slide(write_slide(tmp_path / "S1.tiff")) as slide:
        row, areas = segment_slide(one, slide, lambda n: None)
    scale = (mpp or 0.25) / 0.25
    mask, factor = read_class_mask(one.mask_path("S1"), 1 << 22)
    rows, columns = np.nonzero(mask == 1)
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    with openslide.OpenSlide(one.mask_path("S1")) as opened:
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(row["mpp"], rel=1e-4)
        # A level that is read 1:1 keeps its own resolution, of 700 / 234 rows here.
        assert row["mpp"] == pytest.approx(mpp or 0.25, rel=2e-3)
        assert opened.dimensions == (row["width_px"], row["height_px"])
        assert np.abs(np.array(opened.dimensions) * scale - (900, 700)).max() <= scale

    assert factor == 1
    assert np.abs(found - np.array(BOX) / scale).max() <= 1
    # In the outlines, which stand in level-0 pixels, a pixel of the mask is `scale` of them.
    polygons = read_polygons(one.output / "S1.geojson")
    assert len(polygons) == 1
    corners = np.array([*polygons[0][0].min(axis=0), *polygons[0][0].max(axis=0)])
    assert np.abs(corners - BOX).max() <= scale + 0.01
    drawn = fill_polygons(polygons, mask.shape, (scale, scale))
    np.testing.assert_array_equal(drawn, mask == 1)
    area = (BOX[2] - BOX[0]) * (BOX[3] - BOX[1]) * 0.25**2 / 1e6
    assert areas[1]["area_mm2"] == pytest.approx(area, rel=0.03)
    assert areas[1]["n_px"] == (mask == 1).sum()
    assert row["level0_px_per_px"] == pytest.approx(scale, rel=0.01)


def test_glass_is_not_segmented_and_counts_in_no_share(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "S1.tiff", size=(1500, 2000))
    record = segment_slides(job(tmp_path, slide, probability=True), quiet=True)
    everywhere = job(tmp_path, slide, everywhere=True, output=tmp_path / "all", probability=True)
    segment_slides(everywhere, quiet=True)

    assert [row["outcome"] for row in record.slides] == ["done"]
    mask = read_class_mask(tmp_path / "out" / "S1.mask.tif", 1 << 22)[0]
    whole = read_class_mask(tmp_path / "all" / "S1.mask.tif", 1 << 22)[0]
    tissue = mask != 255
    assert not tissue[:16].any()
    assert tissue[24:-24, 24:-24].all()
    assert not (whole == 255).any()
    # The windows that were left out change no pixel of tissue.
    np.testing.assert_array_equal(mask[tissue], whole[tissue])
    for folder, seen in (("out", tissue), ("all", np.ones_like(tissue))):
        areas = pd.read_csv(tmp_path / folder / "areas.csv").set_index("class")
        share = (mask == 1).sum() / seen.sum()
        assert areas.loc["necrosis", "share"] == pytest.approx(share)
        assert areas.loc["necrosis", "area_mm2"] == pytest.approx((mask == 1).sum() * 0.25e-6)
        assert areas["share"].sum() == pytest.approx(1)
        with Image.open(tmp_path / folder / "S1.prob_necrosis.tif") as picture:
            prob = np.asarray(picture) / 255
        assert ((prob > 0.5) == (mask == 1)).all()
        assert (prob[~seen] == 0).all()
    with Image.open(tmp_path / "out" / "S1.overlay.jpg") as picture:
        assert max(picture.size) < 2200
        shown = np.asarray(picture).astype(int)
    # The line in the colour of the one class, on the slide and in its legend.
    blue = np.abs(shown - (0, 0x72, 0xB2)).max(axis=-1) < 25
    assert blue.sum() > 2 * (162 + 245)
    # No line is as wide as the swatch.
    assert ndimage.binary_erosion(blue, np.ones((12, 12))).any()


def test_finished_slides_are_skipped_and_damaged_ones_made_anew(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"{name}.tiff") for name in ("S1", "S2", "S3")]
    (tmp_path / "S3.tiff").write_bytes(b"no slide")
    one = job(tmp_path, *slides)
    first = segment_slides(one, quiet=True)
    outcomes = {row["slide"]: row["outcome"] for row in first.slides}
    assert outcomes == {"S1": "done", "S2": "done", "S3": "failed"}
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert failures["slide"].tolist() == ["S3"]
    before = (tmp_path / "out" / "S1.mask.tif").read_bytes()

    (tmp_path / "out" / "S1.mask.tif").write_bytes(before[:-100])
    write_slide(tmp_path / "S3.tiff")
    second = segment_slides(one, quiet=True)
    outcomes = {row["slide"]: row["outcome"] for row in second.slides}
    assert outcomes == {"S1": "done", "S2": "skipped", "S3": "done"}
    assert (tmp_path / "out" / "S1.mask.tif").read_bytes() == before
    assert pd.read_csv(tmp_path / "out" / "segment.csv")["slide_id"].tolist() == ["S1", "S2", "S3"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "done"
    # Probabilities are wanted now: what has none is not finished.
    third = segment_slides(job(tmp_path, slides[0], probability=True), quiet=True)
    assert third.slides[0]["outcome"] == "done"
    network = Segmenter(**{**vars(NETWORK), "windows": Windows()})
    with pytest.raises(ConfigError, match="other least_um2, windows"):
        segment_slides(job(tmp_path, *slides, segmenter=network, least_um2=9), quiet=True)


def test_slides_without_tissue_or_mpp_fail_alone_and_say_why(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "E.tiff", np.full((300, 300, 3), 245, np.uint8), mpp=0.5)
    bare = write_slide(tmp_path / "N.tiff", mpp=None)
    coarse = write_slide(tmp_path / "C.tiff", mpp=2.0)
    slides = [tmp_path / "E.tiff", bare, coarse, write_slide(tmp_path / "S1.tiff")]
    record = segment_slides(job(tmp_path, *slides), quiet=True)
    outcomes = {row["slide"]: row["outcome"] for row in record.slides}
    assert outcomes == {"E": "empty", "N": "failed", "C": "failed", "S1": "done"}
    failures = {row["slide"]: row for row in record.facts["failures"]}
    assert failures["E"]["code"] == "NO_TISSUE"
    assert "--everywhere" in failures["E"]["hint"]
    assert "--default-mpp" in failures["N"]["hint"]
    assert failures["C"]["code"] == "MAG_UNAVAILABLE"
    again = job(tmp_path, bare, default_mpp=0.25, output=tmp_path / "two")
    assert segment_slides(again, quiet=True).slides[0]["outcome"] == "done"


def test_shards_and_pseudonyms_give_the_tables_of_all(tmp_path: Path) -> None:
    names = ("JOHN-1", "JOHN-2", "MARY-1")
    slides = [write_slide(tmp_path / f"{name}.tiff") for name in names]
    pseudonyms = Pseudonyms({"JOHN-1": "P1", "JOHN-2": "P2", "MARY-1": "P3"})
    known = {"pseudonyms": pseudonyms, "patients": {"P1": "A", "P2": "A"}}
    for index in range(2):
        shard = job(tmp_path, *slides, shard=Shard(index, 2), **known)
        segment_slides(shard, config={"pseudonyms": "p.csv"}, quiet=True)
    out = tmp_path / "out"
    assert pd.read_csv(out / "segment.csv")["slide_id"].tolist() == ["P1", "P2", "P3"]
    patients = pd.read_csv(out / "patients.csv").set_index("class")
    assert patients["patient_id"].tolist() == ["A", "A"]
    assert patients.loc["necrosis", "slides"] == 2
    areas = pd.read_csv(out / "areas.csv").groupby(["slide_id", "class"])["n_px"].first()
    assert patients.loc["necrosis", "n_px"] == 2 * areas["P1", "necrosis"]
    for path in out.rglob("*"):
        assert "JOHN" not in path.name
        assert path.is_dir() or b"JOHN" not in path.read_bytes()


def test_patients_add_up_areas_not_shares() -> None:
    slides = pd.DataFrame({"slide_id": ["a", "b", "c"], "patient_id": ["p", "p", "q"]})
    areas = pd.DataFrame(
        [("a", "x", 10, 1.0, 0.1), ("a", "y", 90, 9.0, 0.9), ("b", "x", 400, 30.0, 1.0),
         ("b", "y", 0, 0.0, 0.0), ("c", "x", 1, None, 0.25), ("c", "y", 3, None, 0.75)],
        columns=["slide_id", "class", "n_px", "area_mm2", "share"],
    )  # fmt: skip
    found = patient_areas(slides, areas)
    assert found["patient_id"].tolist() == ["p", "p", "q", "q"]
    assert found["area_mm2"].tolist()[:2] == [31.0, 9.0]
    assert found["area_mm2"].isna().tolist() == [False, False, True, True]
    assert found["share"].tolist() == [31 / 40, 9 / 40, 0.25, 0.75]
    assert found["slides"].tolist() == [2, 2, 1, 1]
    assert patient_areas(slides.assign(patient_id=""), areas).empty
