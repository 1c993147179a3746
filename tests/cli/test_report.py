import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from PIL import Image

from histokeras.slides.synthetic import paint_slide, write_slide
from tests.cli.conftest import SMALL

Call = Callable[..., Result]
HOSTILE = "<script>alert(1)"


@pytest.fixture(scope="module")
def run(histokeras: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on slides of which one has a hostile name, cut with an Otsu mask, cross-validated."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "slides").mkdir()
    rows = []
    for number in range(9):
        name = HOSTILE if number == 4 else f"P{number}"
        path = folder / "slides" / f"{name}.tiff"
        write_slide(path, seed=number, size_px=(448, 448), kind="ab"[number % 2], downsamples=(2,))
        rows.append({"slide_id": name, "patient_id": name, "label": f"<b>{'ab'[number % 2]}</b>"})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    done = histokeras("extract-features", folder / "slides", "-o", folder / "feats", *SMALL)
    assert done.exit_code == 0, done.output
    done = histokeras("fit-head", folder / "feats", "--labels", folder / "labels.csv", "-o",
                      folder / "run", "--cv", 3, "--epochs", 5, "--bootstrap", 100)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "report.html" in done.stderr
    return folder / "run"


def test_fit_head_writes_a_page_that_hostile_names_do_not_harm(run: Path) -> None:
    html = (run / "report.html").read_text(encoding="utf-8")

    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<b>a</b>" not in html
    assert "default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-" in html
    # Tiles of both classes, and slides with their tiles.
    assert html.count('src="data:image/jpeg;base64,') > 20
    assert 'alt="Overview of slide' in html
    assert "histokeras extract-features INPUT" in html
    assert "--cv 3" in html
    assert (run / "report" / "roc.csv").is_file()
    assert json.loads((run / "report" / "roc.json").read_text())["plot"] == "roc"


def test_report_draws_a_run_again_and_compares_two(
    run: Path, histokeras: Call, tmp_path: Path
) -> None:
    before = (run / "report.html").read_bytes()

    again = histokeras("report", run)
    copy = shutil.copytree(run, tmp_path / "copy")
    both = histokeras("report", run, copy, "-o", tmp_path / "two.html")
    twice = histokeras("report", run, run, "-o", tmp_path / "twice.html")

    assert again.exit_code == 0, again.output
    assert again.stdout.strip() == str(run / "report.html")
    assert (run / "report.html").read_bytes() == before
    assert both.exit_code == 0, both.output
    assert "May these runs be compared?" in (tmp_path / "two.html").read_text()
    assert twice.exit_code == 2
    assert "is given twice" in twice.stderr


def test_report_refuses_a_folder_without_a_run(histokeras: Call, tmp_path: Path) -> None:
    result = histokeras("report", tmp_path)

    assert result.exit_code == 3
    assert "is no run folder" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_evaluate_writes_the_same_page_for_a_run(
    run: Path, histokeras: Call, tmp_path: Path
) -> None:
    result = histokeras("evaluate", run, "-o", tmp_path / "e", "--bootstrap", 100)

    assert result.exit_code == 0, result.output
    html = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert 'alt="Overview of slide' in html
    # The very figures of the run.
    of_run, again = (
        json.loads((folder / "metrics.json").read_text())["splits"]["test"]["patient"]
        for folder in (run, tmp_path / "e")
    )
    assert again == of_run


def test_tiles_tells_counts_and_exits_4_for_a_bad_image(histokeras: Call, tmp_path: Path) -> None:
    image = paint_slide(seed=1, size_px=(192, 128))
    for label in ("one", "two"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for i in range(3):
            tile = image[64 * (label == "two") :, 64 * i :][:64, :64]
            Image.fromarray(tile).save(tmp_path / "set" / label / f"{i}.png")

    good = histokeras("tiles", tmp_path / "set", "-o", tmp_path / "look")
    (tmp_path / "set" / "one" / "bad.png").write_bytes(b"x")
    bad = histokeras("tiles", tmp_path / "set", "--json")

    assert good.exit_code == 0, good.output
    assert "sizes: 64 x 64 px (6)" in good.stdout
    assert (tmp_path / "look" / "tiles.html").is_file()
    assert bad.exit_code == 4
    document = json.loads(bad.stdout)
    assert [row["n_unreadable"] for row in document["classes"]] == [1, 0]
