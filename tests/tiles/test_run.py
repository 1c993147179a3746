import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from histokeras.errors import OutputError, TableError
from histokeras.runs.record import RunRecord
from histokeras.slides.inventory import SlideRow
from histokeras.slides.synthetic import write_pyramid
from histokeras.tiles import run
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.manifest_file import read_manifest
from histokeras.tiles.run import TileJob, tile_slides

TISSUE = np.full((200, 300, 3), (200, 100, 150), np.uint8)


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_pyramid(folder / "good.tiff", TISSUE, mpp=0.5, downsamples=())
    write_pyramid(folder / "mute.tiff", TISSUE, mpp=None, downsamples=())
    write_pyramid(folder / "glass.tiff", np.full_like(TISSUE, 245), mpp=0.5, downsamples=())
    (folder / "bad.svs").write_bytes(b"<html>")
    return sorted(folder.iterdir())


def cut(slides: list[Path], output: Path, **options: Any) -> RunRecord:
    spec = options.pop("spec", TileSpec(size_px=100))
    return tile_slides(
        TileJob(slides=slides, output=output, spec=spec, workers=1, **options),
        config={},
        quiet=True,
    )


def outcomes(record: RunRecord) -> dict[str, str]:
    return {row["slide"]: row["outcome"] for row in record.slides}


def test_one_bad_slide_never_stops_the_others(slides: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out"

    record = cut(slides, output)

    assert outcomes(record) == {
        "bad": "failed",
        "glass": "empty",
        "good": "done",
        "mute": "failed",
    }
    failures = pd.read_csv(output / "failures.csv", keep_default_na=False)
    assert failures[["slide", "stage", "code"]].to_numpy().tolist() == [
        ["bad", "open", "SLIDE_NOT_A_SLIDE"],
        ["glass", "tile", "NO_TISSUE"],
        ["mute", "open", "MPP_MISSING"],
    ]
    manifest = read_manifest(output / "tiles" / "good.csv")
    assert manifest["kept"].sum() == len(manifest) == 6
    assert len(read_manifest(output / "tiles" / "glass.csv")) == 6
    assert sorted(path.name for path in (output / "pictures").iterdir()) == [
        "glass.png",
        "good.png",
    ]
    written = json.loads((output / "run.json").read_text())
    assert written["status"] == "done with failures"
    assert str(tmp_path) not in (output / "run.json").read_text()
    assert str(tmp_path) not in (output / "failures.csv").read_text()


def test_a_second_run_does_no_work_and_tells_the_same(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    first = cut(slides, output)
    before = {path: path.read_bytes() for path in output.rglob("*.csv")}
    monkeypatch.setattr(run, "plan_tiles", lambda *_, **__: pytest.fail("worked again"))

    second = cut(slides, output)

    assert outcomes(second) == outcomes(first) | {"good": "skipped"}
    assert {path: path.read_bytes() for path in output.rglob("*.csv")} == before


def test_overwrite_cuts_anew(slides: list[Path], tmp_path: Path) -> None:
    cut(slides[2:3], tmp_path / "out")

    record = cut(slides[2:3], tmp_path / "out", overwrite=True)

    assert outcomes(record) == {"good": "done"}


@pytest.mark.parametrize("damage", ["flip", "cut", "mpp", "content"])
def test_a_damaged_or_outdated_manifest_is_cut_anew(
    slides: list[Path], tmp_path: Path, damage: str
) -> None:
    output, good = tmp_path / "out", slides[2]
    cut([good], output)
    path = output / "tiles" / "good.csv"
    whole = path.read_bytes()
    table = {}
    if damage == "flip":
        path.write_bytes(whole.replace(b"True", b"Tru3", 1))
    elif damage == "cut":
        path.write_bytes(whole[:-10])
    elif damage == "mpp":
        table = {"good": SlideRow(0.51)}
    else:
        write_pyramid(good, TISSUE[::-1] // 2, mpp=0.5, downsamples=())

    record = cut([good], output, table=table)

    assert outcomes(record) == {"good": "done"}
    assert (path.read_bytes() == whole) == (damage in {"flip", "cut"})


def test_other_settings_in_one_folder_are_refused_before_any_work(
    slides: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    cut(slides[2:3], output)
    other = TileSpec(size_px=50, max_background=0.5)

    with pytest.raises(
        TableError, match=r"max_background 0\.25 \(now 0\.5\), size_px 100 \(now 50\)"
    ) as caught:
        cut(slides[1:2], output, spec=other)
    with pytest.raises(TableError, match="cut with other settings"):
        cut(slides[1:2], output, spec=other, overwrite=True)
    redone = cut(slides[2:3], output, spec=other, overwrite=True)

    assert caught.value.code == "CONFIG_MISMATCH"
    assert not (output / "tiles" / "glass.csv").exists()
    assert redone.slides[0]["tiles"] == 24


def test_images_are_the_kept_tiles_and_nothing_else(slides: list[Path], tmp_path: Path) -> None:
    output, good = tmp_path / "out", slides[2]
    cut([good], output)
    folder = output / "images" / "good"

    record = cut([good], output, save_images=True)
    first = sorted(path.name for path in folder.iterdir())
    (folder / "0_100.png").unlink()
    (folder / "mine.txt").write_text("stays")
    (folder / "7_7.png").write_bytes(b"of an earlier run")
    cut([good], output, save_images=True, overwrite=True)

    assert outcomes(record) == {"good": "done"}
    assert first == ["0_0.png", "0_100.png", "100_0.png", "100_100.png", "200_0.png", "200_100.png"]
    assert sorted(path.name for path in folder.iterdir()) == [*first, "mine.txt"]
    assert outcomes(cut([good], output, save_images=True)) == {"good": "skipped"}


def test_a_picture_that_fails_never_fails_the_slide(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("cosmetics")

    monkeypatch.setattr(run, "draw_tiles", broken)

    assert outcomes(cut(slides[2:3], tmp_path / "out")) == {"good": "done"}


def test_an_unexpected_error_is_recorded_and_the_others_go_on(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_tiles = run.plan_tiles

    def broken(slide: Any, spec: TileSpec, **options: Any) -> Any:
        if slide.slide_id == "glass":
            raise RuntimeError("a bug")
        return plan_tiles(slide, spec, **options)

    monkeypatch.setattr(run, "plan_tiles", broken)
    record = cut(slides[1:3], tmp_path / "out")

    assert outcomes(record) == {"glass": "failed", "good": "done"}
    assert record.facts["failures"][0]["code"] == "UNEXPECTED"


def test_a_full_disk_ends_the_run_at_once(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("no space left.", code="DISK_FULL")

    monkeypatch.setattr(run, "write_manifest", full)

    with pytest.raises(OutputError, match="no space left"):
        cut(slides[1:], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "interrupted"


def test_the_default_mpp_and_the_table_reach_the_slide(slides: list[Path], tmp_path: Path) -> None:
    mute = slides[3]

    by_default = cut([mute], tmp_path / "a", default_mpp=0.25)
    by_table = cut([mute], tmp_path / "b", table={"mute": SlideRow(0.5)}, default_mpp=0.25)

    assert by_default.slides[0]["mpp_source"] == "--default-mpp"
    assert by_default.slides[0]["grid"] == 1
    assert by_table.slides[0]["mpp_source"] == "slide table"
    assert by_table.slides[0]["grid"] == 6


def test_odd_names_are_kept_in_the_table_and_escaped_in_the_file_system(
    slides: list[Path], tmp_path: Path
) -> None:
    odd = tmp_path / "-a, b 'c' 🔬.tiff"
    odd.write_bytes(slides[2].read_bytes())

    record = cut([odd], tmp_path / "out")

    assert record.slides[0]["slide"] == "-a, b 'c' 🔬"
    (path,) = (tmp_path / "out" / "tiles").iterdir()
    assert path.name.startswith("%2Da")
    assert set(read_manifest(path)["slide_id"]) == {"-a, b 'c' 🔬"}
