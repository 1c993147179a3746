"""The slide on the page, against what ``predict`` and ``heatmap`` know of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from histokeras.app import slide
from histokeras.app.facts import read_facts
from histokeras.app.patients import composition_table, patients_table
from histokeras.app.samples import colour_range, find_samples, painted_tile, sample_tile
from histokeras.app.settings import Settings, from_arguments, to_argument
from histokeras.cli.main import main
from histokeras.errors import ConfigError, FeatureError, TableError
from histokeras.files import write_json
from histokeras.report.colours import class_looks
from tests.app.conftest import EVIL, SIDE
from tests.training.made_run import CLASSES, write_run


def test_a_new_slide_gets_what_predict_says(shown: Settings, tmp_path: Path) -> None:
    from histokeras.app.engine import open_engine, predict_slide

    engine = open_engine(shown)

    path = slide.choices(Path(str(shown.slides)))["S2"]
    steps: list[tuple[int, int]] = []

    table = predict_slide(engine, path, "S2", count=lambda done, total: steps.append((done, total)))

    words = ["predict", str(shown.run), str(path), "-o", str(tmp_path / "new")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    expected = pd.read_csv(tmp_path / "new/predictions/S2.csv")
    assert list(table) == list(expected)
    np.testing.assert_allclose(table.to_numpy(), expected.to_numpy(), atol=2e-5)
    assert steps[-1] == (20, 20)
    with pytest.raises(ConfigError, match="is for runs on ready-made tiles"):
        predict_slide(replace(engine, mpp=0.3), path, "S2")
    # And the folder that predict wrote serves the page.
    given = replace(shown, predictions=tmp_path / "new")
    slide.require_own_predictions(given)
    again, said = slide.saved_predictions(given, read_facts(shown.run), "S2")
    assert again is not None
    assert said == "These predictions are those of `histokeras predict`."


def test_predictions_of_another_run_are_refused(shown: Settings, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"command": "predict", "heads": ["0" * 64]})

    with pytest.raises(FeatureError, match="holds no predictions of this run"):
        slide.require_own_predictions(replace(shown, predictions=tmp_path))


def test_the_map_has_the_colour_of_each_tiles_class(shown: Settings) -> None:
    facts = read_facts(shown.run)
    table, said = slide.saved_predictions(shown, facts, "S1")
    assert table is not None
    assert said == "These predictions are those of the run."
    path = slide.choices(Path(str(shown.slides)))["S1"]
    view = slide.view_slide(path, "S1")
    slide.require_inside(view, table, "S1")
    assert view.dimensions == (320, 256)

    drawn = slide.class_map(view, table, facts.classes, 0.7)

    per_px = view.image.shape[1] / 320
    colours = {
        name: np.array([int(look.colour[i : i + 2], 16) for i in (1, 3, 5)])
        for name, look in class_looks(facts.classes).items()
    }
    # 0.95 glands; 0.8 stroma; 0.55 glands, which is unsure and pale; no tile.
    for (x, y), name, share in [
        ((32, 32), "glands", 0.6), ((96, 32), "stroma", 0.6), ((160, 96), "glands", 0.2),
        ((300, 200), "glands", 0.0),
    ]:  # fmt: skip
        at = round(y * per_px), round(x * per_px)
        expected = view.image[at] * (1 - share) + colours[name] * share
        np.testing.assert_allclose(drawn[at], expected, atol=1)


def test_composition_and_downloads(shown: Settings) -> None:
    facts = read_facts(shown.run)
    table, _ = slide.saved_predictions(shown, facts, "S1")
    assert table is not None

    assert slide.composition(table, facts.classes, "S1") == pytest.approx(
        {"glands": 2 / 3, "stroma": 1 / 3}
    )
    lines = slide.csv_bytes(table).decode().splitlines()
    assert lines[0] == "minx,miny,width,height,prob_glands,prob_stroma"
    assert len(lines) == 4
    document = json.loads(slide.geojson_bytes("S1", table, facts.classes))
    first = document["features"][0]["properties"]
    assert first["classification"]["name"] == "glands"
    assert first["measurements"] == {"prob_glands": 0.95, "prob_stroma": 0.05}


def test_a_bag_shows_what_its_tiles_weigh(shown: Settings) -> None:
    facts = read_facts(shown.run)
    table, _ = slide.saved_predictions(shown, facts, "S1")
    assert table is not None
    bag = table.assign(attention=[0.7, 0.2, 0.1], prob_glands=0.9, prob_stroma=0.1)
    view = slide.view_slide(slide.choices(Path(str(shown.slides)))["S1"], "S1")

    assert slide.attention_picture(view, bag, "S1").startswith(b"\x89PNG")
    assert slide.bag_probabilities(bag, facts.classes) == {"glands": 0.9, "stroma": 0.1}
    first = json.loads(slide.geojson_bytes("S1", bag, facts.classes))["features"][0]
    assert first["properties"]["measurements"]["attention"] == 0.7


def test_predictions_beyond_the_slide_are_refused(shown: Settings) -> None:
    table, _ = slide.saved_predictions(shown, read_facts(shown.run), "S1")
    assert table is not None
    view = slide.view_slide(slide.choices(Path(str(shown.slides)))["S1"], "S1")

    with pytest.raises(TableError, match="reach to x=448"):
        slide.require_inside(view, table.assign(minx=table["minx"] + 256), "S1")


def test_samples_are_tiles_of_the_run_and_stay_in_its_folder(shown: Settings) -> None:
    facts = read_facts(shown.run)

    (sample,) = find_samples(facts)

    # The overview of a slide is no tile.
    assert sample.name == "S1 · x 64, y 128 · glands · test"
    assert sample.said == "Its label is glands. The run itself says glands, probability 0.5."
    assert sample_tile(sample, SIDE).normalised
    assert "enlarged to 96 px" in sample_tile(sample, 96).said
    assert colour_range([sample] * 9) is None
    low, high = colour_range([sample] * 10)  # type: ignore[misc]
    np.testing.assert_array_equal(low, high)
    path = slide.choices(Path(str(shown.slides)))["S1"]
    tile = slide.slide_tile(path, "S1", (64, 128), facts, None)
    assert tile.image.shape == (SIDE, SIDE, 3)
    assert not np.array_equal(tile.image, painted_tile("TUM", 0, SIDE, 0.5).image)


def test_a_picture_outside_the_run_is_not_shown(shown: Settings, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "pictures").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (run / "pictures.csv").write_text("file,why\n../secret.jpg,sample\n")
    assert find_samples(read_facts(run)) == []
    (run / "pictures" / "a.jpg").symlink_to(tmp_path / "secret.jpg")

    with pytest.raises(FeatureError, match="is a link out of run"):
        read_facts(run)


def test_patients_keep_their_ids_and_have_numbers(shown: Settings) -> None:
    table = patients_table(read_facts(shown.run))

    assert list(table)[:5] == ["patient_id", "split", "label", "predicted", "prob_glands"]
    assert table["patient_id"].tolist() == ["007", EVIL]
    assert table["prob_glands"].tolist() == [0.75, 0.25]
    facts = read_facts(shown.run)
    of_tiles = patients_table(replace(facts, cards=[dict(facts.card) | {"level": "tile"}]))
    assert list(of_tiles)[:3] == ["patient_id", "split", "prob_glands"]
    assert "predicted" not in of_tiles
    found, whose = composition_table(Path(str(shown.composition)))
    assert (whose, found["share_glands"].tolist()) == ("patient", [0.667])
    assert list(found) == ["patient_id", "share_glands", "share_stroma", "share_glands_low"]
    with pytest.raises(TableError, match="holds no composition"):
        composition_table(shown.run / "predictions")


def test_facts_say_what_is_not_to_be_had(shown: Settings, tmp_path: Path) -> None:
    facts = read_facts(shown.run)
    assert facts.why_no_tile == facts.why_no_slide == ""
    assert facts.classes == CLASSES
    assert "temperature 1.25" in facts.lines[1]
    card = dict(facts.card)
    for changes, tile, place in [
        ({"task": "regression", "target": "score"}, "predicts a number (score)", "no class map"),
        ({"head": "mil"}, "as a whole", ""),
        ({"features": {"backbone": "stain-texture"}}, "no network", ""),
        ({"features": {"backbone": "mini"}}, "another tool", ""),
    ]:
        other = replace(facts, cards=[card | changes])
        assert tile in other.why_no_tile
        assert bool(tile) == bool(other.why_no_tile)
        assert place in other.why_no_slide
        assert bool(place) == bool(other.why_no_slide)
    noted = replace(facts, cards=[card | {"temperature_note": "no val patients"}])
    assert noted.lines[1] == "Probabilities are not calibrated: no val patients."
    with pytest.raises(FeatureError, match="holds no finished run"):
        read_facts(tmp_path)


def test_settings_go_through_a_command_line(shown: Settings) -> None:
    assert from_arguments([to_argument(shown)]) == shown
    with pytest.raises(ConfigError, match="not started by `histokeras app`"):
        from_arguments(["run"])
