import json
import re
from pathlib import Path

import pandas as pd
import pytest

from histokeras.analysis.composition_figures import CompositionConfig
from histokeras.analysis.composition_run import CompositionJob, run_composition
from histokeras.errors import FeatureError
from histokeras.files import write_json
from histokeras.report.composition_page import told_composition
from histokeras.report.composition_words import cautions, headline, leading_class
from histokeras.report.page import write_report
from tests.analysis.composition_folders import slide_table, write_predicted

HOSTILE = "<script>alert(1)</script>"


def composed(tmp_path: Path, n: int, **config: object) -> Path:
    """The composition of `n` patients with one slide each, the tumour ever smaller."""
    slides = {
        f"s{i:03d}": slide_table([2] * (60 + n - i) + [1] * (20 + i) + [0] * 9) for i in range(n)
    }
    patients = {f"s{i:03d}": f"P{i:03d}{HOSTILE}" for i in range(n)}
    folder = write_predicted(tmp_path / "pred", slides, patients)
    made = CompositionConfig(n_resamples=100, **config)  # type: ignore[arg-type]
    job = CompositionJob(folders=[folder], config=made)
    run_composition(job, tmp_path / "out", options={"min_tiles": made.min_tiles})
    return tmp_path / "out"


def test_the_page_shows_every_patient_sorted_by_tumour(tmp_path: Path) -> None:
    folder = composed(tmp_path, 5)

    html = write_report(folder).read_text(encoding="utf-8")

    assert HOSTILE not in html
    order = [int(number) for number in re.findall(r'<th scope="row">P(\d+)', html)]
    assert order == [0, 1, 2, 3, 4]
    table = pd.read_csv(folder / "patients.csv")
    median = 100 * table["share_TUM"].median()
    assert f"{median:.1f} %" in html
    assert "TUM (tumour) makes" in html
    # The tumour's own colour, at the beginning of each bar.
    assert "#d55e00" in html
    assert "resamples of squares of 8 x 8" in html


def test_many_patients_are_thin_bars_without_names(tmp_path: Path) -> None:
    folder = composed(tmp_path, 61, interval="none")

    html = write_report(folder, tmp_path / "page.html").read_text(encoding="utf-8")

    assert "too many for names" in html
    figure = html[html.index("<figure") : html.index("</figure>")]
    assert "P000" not in figure


def test_nobody_with_enough_tiles_is_said(tmp_path: Path) -> None:
    folder = composed(tmp_path, 2, min_tiles=5000)

    html = write_report(folder).read_text(encoding="utf-8")

    assert "No patient has 5000 tiles" in html
    assert "fewer than 5000 tiles: no figures" in html
    assert "<figure" not in html


def test_an_unfinished_or_damaged_folder_has_no_page(tmp_path: Path) -> None:
    folder = composed(tmp_path, 2)
    record = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**record, "status": "running"})
    with pytest.raises(FeatureError, match="no finished composition"):
        write_report(folder)
    write_json(folder / "run.json", record)
    write_json(folder / "composition.json", {"classes": ["a"]})
    with pytest.raises(FeatureError, match="damaged"):
        write_report(folder)


def made_metrics(**change: object) -> dict[str, object]:
    figures = {f"share_{name}": {"n": 4, "q1": 0.1, "median": m, "q3": 0.9}
               for name, m in (("a", 0.2), ("b", 0.7))}  # fmt: skip
    return {
        "classes": ["a", "b"], "unit": "patient", "min_tiles": 50, "summary": {"all": figures},
        "class_balanced": False, "label_levels": [], "sides": {"new": 4}, "correction": None,
        "tile_accuracy": 0.97, "interval": "blocks", "n_few_blocks": 0, "block_tiles": 8, **change,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({}, []),
        ({"tile_accuracy": 0.72}, ["classifier"]),
        ({"tile_accuracy": None}, ["classifier"]),
        ({"tile_accuracy": 0.72, "correction": {"side": "val"}}, []),
        ({"label_levels": ["patient"], "tile_accuracy": None}, ["labels"]),
        ({"sides": {"train": 3, "test": 1}, "class_balanced": True}, ["balanced", "seen"]),
        ({"interval": "wilson", "n_few_blocks": 2}, ["wilson", "blocks"]),
    ],
)
def test_each_case_has_its_warning(change: dict[str, object], codes: list[str]) -> None:
    found = cautions(made_metrics(**change))

    assert [caution.code for caution in found] == codes
    if change.get("tile_accuracy") == 0.72 and codes:
        assert "72 %" in found[0].title


def test_a_study_tells_the_cohort_in_one_table(tmp_path: Path) -> None:
    said, (medians,) = told_composition(composed(tmp_path, 3))

    assert said.startswith("TUM (tumour) makes")
    assert [str(row[0]) for row in medians.rows] == [
        "LYM (lymphocytes)", "STR (stroma)", "TUM (tumour)", "STR / (STR + TUM)", "LYM / TUM",
        "Entropy (nats)",
    ]  # fmt: skip


def test_fat_of_slides_is_a_lower_bound(tmp_path: Path) -> None:
    table = slide_table([0] * 30 + [1] * 30, ("ADI", "TUM"))
    folder = write_predicted(tmp_path / "pred", {"s": table}, {"s": "P"})
    run_composition(CompositionJob(folders=[folder]), tmp_path / "out", options={})

    html = write_report(tmp_path / "out").read_text(encoding="utf-8")

    assert "its share is a lower bound" in html
    assert "--exclude ADI" in html


def test_without_a_tumour_the_commonest_class_leads() -> None:
    metrics = made_metrics()

    assert leading_class(metrics) == "b"
    assert headline(metrics).startswith("b makes 70 %")
