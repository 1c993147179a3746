import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from histokeras.cli.main import main
from histokeras.slides.synthetic import write_pyramid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.full((100, 200, 3), (200, 100, 150), np.uint8)
    write_pyramid(tmp_path / "good.tiff", image, mpp=0.5, downsamples=())
    write_pyramid(tmp_path / "mute.tiff", image, mpp=None, downsamples=())
    return tmp_path


def test_slides_lists_what_can_be_read_and_why_not(folder: Path) -> None:
    result = CliRunner().invoke(main, ["slides", str(folder)])

    assert result.exit_code == 4
    good, mute = result.stdout.splitlines()[1:]
    assert good.split()[:7] == ["good", "generic-tiff", "200", "x", "100", "1", "0.5"]
    assert good.endswith("TIFF resolution  ok")
    assert "MPP_MISSING" in mute
    assert result.stderr == "1 of 2 slide(s) cannot be used\n"


def test_a_default_or_a_table_makes_all_of_them_readable(folder: Path) -> None:
    (folder / "slides.csv").write_text("slide,mpp\nmute.tiff,0.25\n")

    by_table = CliRunner().invoke(
        main, ["slides", str(folder), "--slide-table", str(folder / "slides.csv"), "--json"]
    )
    by_default = CliRunner().invoke(main, ["slides", str(folder), "--default_mpp", "0.4"])

    assert by_table.exit_code == 0, by_table.output
    rows = json.loads(by_table.stdout)["slides"]
    assert [(row["slide"], row["mpp"]) for row in rows] == [("good", 0.5), ("mute", 0.25)]
    assert by_default.exit_code == 0


def test_no_slides_is_one_clean_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["slides", str(tmp_path)])

    assert result.exit_code == 3
    assert result.stderr.startswith("Error: no slide (")
    assert len(result.stderr.splitlines()) == 1


def test_subfolders_are_searched_when_asked_for(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "good.tiff").rename(folder / "deep" / "good.tiff")

    flat = CliRunner().invoke(main, ["slides", str(folder)])
    deep = CliRunner().invoke(main, ["slides", str(folder), "--recursive"])

    assert "good" not in flat.stdout
    assert "good" in deep.stdout
