import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from histokeras.cli.main import main
from histokeras.slides.synthetic import write_pyramid
from histokeras.tiles.manifest_file import read_manifest


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    image = np.full((300, 600, 3), (200, 100, 150), np.uint8)
    write_pyramid(tmp_path / "good.tiff", image, mpp=0.5, downsamples=())
    return tmp_path / "good.tiff"


def tile(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["tile", *map(str, arguments)])


def test_tile_writes_manifest_and_picture_and_prints_the_manifest(
    slide: Path, tmp_path: Path
) -> None:
    result = tile(slide, "-o", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path}/out/tiles/good.csv\n"
    assert "good: done, 2 of 2 tiles kept at 0.5 um per pixel" in result.stderr
    assert (tmp_path / "out/pictures/good.png").exists()
    assert len(read_manifest(tmp_path / "out/tiles/good.csv")) == 2


def test_the_same_command_again_skips_and_says_so(slide: Path, tmp_path: Path) -> None:
    tile(slide, "-o", tmp_path / "out")

    result = tile(slide, "-o", tmp_path / "out")

    assert result.exit_code == 0
    assert "good: skipped" in result.stderr
    assert "finished before with the same settings" in result.stderr


def test_mag_prints_the_mpp_that_it_stands_for(slide: Path, tmp_path: Path) -> None:
    result = tile(slide, "-o", tmp_path / "out", "--mag", "5", "--tile_px", "75", "--json")

    assert result.exit_code == 0, result.output
    assert "--mag 5: tiles are cut at 2 um per pixel" in result.stderr
    report = json.loads(result.stdout)
    assert (report["slides"][0]["mpp"], report["slides"][0]["grid"]) == (2.0, 2)
    assert report["failures"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mag", "20", "--mpp", "0.5"], "give --mpp or --mag, not both"),
        (["--mag", "0"], "`--mag` is a power above 0"),
        (["--max-background", "25"], "`max_background` is a fraction"),
        (["--tissue", "nowhere"], "or a folder of <slide_id>.geojson. Received: nowhere"),
    ],
)
def test_impossible_options_are_refused_before_any_work(
    slide: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = tile(slide, "-o", tmp_path / "out", *arguments)

    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_of_drawings_is_a_way_to_find_tissue(slide: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    ring = [[0, 0], [300, 0], [300, 300], [0, 300], [0, 0]]
    (drawn / "good.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))

    result = tile(slide, "-o", tmp_path / "out", "--tissue", drawn, "--save-images")

    assert result.exit_code == 0, result.output
    images = [path.name for path in (tmp_path / "out/images/good").iterdir()]
    assert images == ["0_0.png"]


def test_bad_slides_are_listed_and_the_exit_code_is_4(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.svs").write_bytes(b"")

    result = tile(tmp_path / "bad.svs", slide, "-o", tmp_path / "out")

    assert result.exit_code == 4
    assert "bad: failed, SLIDE_EMPTY" in result.stderr
    assert "1 of 2 slide(s): see" in result.stderr
    assert result.stdout.splitlines() == [f"{tmp_path}/out/tiles/good.csv"]
    assert "SLIDE_EMPTY" in (tmp_path / "out/failures.csv").read_text()


def test_empty_slides_may_be_allowed(tmp_path: Path) -> None:
    glass = np.full((300, 600, 3), 245, np.uint8)
    write_pyramid(tmp_path / "glass.tiff", glass, mpp=0.5, downsamples=())

    refused = tile(tmp_path / "glass.tiff", "-o", tmp_path / "out")
    allowed = tile(tmp_path / "glass.tiff", "-o", tmp_path / "out", "--allow-empty")

    assert (refused.exit_code, allowed.exit_code) == (4, 0)
    assert "NO_TISSUE" in refused.stderr


def test_every_real_slide_gets_done_or_its_own_reason(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "slides"

    result = tile(
        folder / "bad", folder / "CMU-1-Small-Region.svs", "-o", tmp_path / "out", "--json"
    )

    report = json.loads(result.stdout)
    assert result.exit_code == 4
    assert {row["slide"]: row["code"] for row in report["failures"]} == {
        "broken": "SLIDE_UNREADABLE",
        "openslide-boxes": "MPP_ABSURD",
        "openslide-small": "TOO_SMALL",
        "openslide-unopenable": "SLIDE_UNREADABLE",
        "openslide-unreadable": "TILE_CORRUPT",
    }
    assert len({row["message"] for row in report["failures"]}) == 5
    assert [row["tiles"] for row in report["slides"] if row["outcome"] == "done"] == [15]
