import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.errors import ConfigError, FeatureError, OutputError, SlideError, TableError
from histokeras.features.extract import extract
from histokeras.features.extras import pixel_hash
from histokeras.features.index import index_features
from histokeras.features.known import feature_path
from histokeras.features.plan import plan_extraction
from histokeras.features.settings import FeatureSettings
from histokeras.features.sources import CutSource
from histokeras.features.store import arrays_sha256, read_features, write_features
from histokeras.features.verify import verify_folder
from histokeras.slides.reader import open_slide
from histokeras.tiles.cut import cut_tiles
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.texture import stain_texture
from tests.features.conftest import SPEC, FakeEngine, colour_vectors, settings_of, sources_of


def digests(folder: Path) -> dict[str, str]:
    return {
        path.stem: read_features(path).provenance["arrays_sha256"]
        for path in sorted((folder / "features").glob("*.h5"))
    }


def test_each_kept_tile_gets_the_vector_of_its_own_pixels(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    plan = run_plan(made_slides, tmp_path)

    assert [row["outcome"] for row in plan.outcomes] == ["done"] * 3
    for path in made_slides:
        features = read_features(feature_path(tmp_path, path.stem))
        with open_slide(path) as slide:
            tiles = cut_tiles(slide, SPEC)
            images = np.stack([tiles.image(i) for i in range(len(tiles))])
        kept = tiles.manifest[tiles.manifest["kept"]]
        np.testing.assert_array_equal(features.tiles[["x", "y"]], kept[["x", "y"]])
        np.testing.assert_allclose(features.vectors, colour_vectors(images), rtol=1e-5)
        written = pd.read_csv(tmp_path / "tiles" / f"{path.stem}.csv")
        assert len(written) == len(tiles.manifest)
        assert written["kept"].sum() == len(features)


def test_reading_batch_and_order_of_slides_change_no_bit(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    run_plan(made_slides, tmp_path / "a", batch_size=64)
    run_plan(made_slides[::-1], tmp_path / "b", batch_size=7)

    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    for path in (tmp_path / "a/features").iterdir():
        assert path.read_bytes() == (tmp_path / "b/features" / path.name).read_bytes()


def test_the_number_of_reading_threads_changes_no_bit(
    made_slides: list[Path], tmp_path: Path
) -> None:
    settings = settings_of().as_dict()
    written = []
    for workers, batch_size in ((1, 64), (5, 3)):
        found = extract(
            sources_of(made_slides), settings, FakeEngine(), workers=workers, batch_size=batch_size
        )
        for result in found:
            assert result.features is not None
            write_features(tmp_path / "s.h5", result.features)
            written.append((tmp_path / "s.h5").read_bytes())

    assert written[:3] == written[3:]


def test_each_kept_tile_has_its_floor_hash_and_picture(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    run_plan(made_slides[:1], tmp_path)

    extras = read_features(feature_path(tmp_path, "slide0")).extras

    with open_slide(made_slides[0]) as slide:
        tiles = cut_tiles(slide, SPEC)
        images = [tiles.image(i) for i in range(len(tiles))]
        in_memory = next(iter(extract([CutSource(tiles)], settings_of().as_dict(), FakeEngine())))
        assert tiles.plan.thumbnail is not None
    assert extras is not None
    np.testing.assert_array_equal(extras.floor, [stain_texture(image) for image in images])
    assert extras.pixel_hash.tolist() == [pixel_hash(image) for image in images]
    assert list(extras.pictures) == list(range(len(images)))
    assert {Image.open(io.BytesIO(data)).size for data in extras.pictures.values()} == {(96, 96)}
    assert extras.overview is not None
    assert max(Image.open(io.BytesIO(extras.overview)).size) <= 480
    assert in_memory.features is not None
    assert in_memory.features.extras is not None
    assert arrays_sha256(in_memory.features) == digests(tmp_path)["slide0"]


def test_the_same_tile_of_two_slides_has_one_hash(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    slides = [Path(shutil.copy(made_slides[0], tmp_path / f"{name}.tiff")) for name in "ab"]
    run_plan([*slides, made_slides[1]], tmp_path / "out")

    found = [read_features(path).extras for path in sorted((tmp_path / "out/features").iterdir())]
    first, second, other = (extras.pixel_hash.tolist() for extras in found if extras is not None)

    assert first == second
    assert not set(first) & set(other)


def test_older_files_without_extras_count_as_done(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    run_plan(made_slides[:1], tmp_path)
    path = feature_path(tmp_path, "slide0")
    old = dataclasses.replace(read_features(path), extras=None)
    old.provenance["arrays_sha256"] = arrays_sha256(old)
    write_features(path, old)
    before = path.read_bytes()

    plan = run_plan(made_slides[:1], tmp_path)

    assert [row["outcome"] for row in plan.outcomes] == ["skipped"]
    assert path.read_bytes() == before
    assert [item.status for item in verify_folder(tmp_path)] == ["ok"]


def test_a_second_run_does_no_work(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    run_plan(made_slides, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.h5")}
    engine = FakeEngine()

    plan = run_plan(made_slides, tmp_path, engine=engine)

    assert engine.calls == 0
    assert [row["outcome"] for row in plan.outcomes] == ["skipped"] * 3
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.h5")}


def test_an_interrupted_run_resumes_to_the_same_bits(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    class Killed(FakeEngine):
        def start(self, images: np.ndarray) -> np.ndarray:
            if self.calls == 7:
                raise KeyboardInterrupt
            return super().start(images)

    with pytest.raises(KeyboardInterrupt):
        run_plan(made_slides, tmp_path / "a", engine=Killed())
    done = len(digests(tmp_path / "a"))
    assert done < 3
    plan = run_plan(made_slides, tmp_path / "a")
    run_plan(made_slides, tmp_path / "b")

    assert sum(row["outcome"] == "skipped" for row in plan.outcomes) == done
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not list(tmp_path.rglob("*.part*"))


def test_one_bad_slide_does_not_stop_the_others(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    bad = tmp_path / "slides" / "bad.svs"
    bad.parent.mkdir()
    bad.write_bytes(b"<html>expired</html>")

    plan = run_plan([made_slides[0], bad, made_slides[1]], tmp_path / "out")

    outcomes = {row["slide"]: row["outcome"] for row in plan.outcomes}
    assert outcomes == {"slide0": "done", "bad": "failed", "slide1": "done"}
    assert [(row["slide"], row["code"]) for row in plan.failures] == [("bad", "SLIDE_NOT_A_SLIDE")]


def test_a_slide_without_tiles_is_recorded_and_not_tried_again(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    spec = TileSpec(size_px=2000)
    engine = FakeEngine()

    first = run_plan(made_slides[:1], tmp_path, spec=spec, engine=engine)
    again = run_plan(made_slides[:1], tmp_path, spec=spec, engine=engine)

    for plan in (first, again):
        assert [row["outcome"] for row in plan.outcomes] == ["empty"]
        assert [row["code"] for row in plan.failures] == ["TOO_SMALL"]
    assert not again.todo
    assert not list((tmp_path / "features").iterdir())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"spec": TileSpec(size_px=64)}, "tile_size_px 96 (wanted 64)"),
        ({"spec": TileSpec(size_px=96, max_background=0.5)}, "tile_max_background"),
        ({"weights_sha256": "other"}, "weights_sha256"),
        ({"backbone": "resnet50"}, "backbone mobilenetv2 (wanted resnet50)"),
        ({"precision": "mixed_float16"}, "precision"),
        ({"compute_batch": 8}, "compute_batch 16 (wanted 8)"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_features_made_otherwise_are_never_taken_for_done(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable, change: dict, named: str
) -> None:
    run_plan(made_slides[:1], tmp_path)

    with pytest.raises(FeatureError) as caught:
        run_plan(made_slides[:1], tmp_path, **change)
    assert named in str(caught.value)
    assert caught.value.code == "CONFIG_MISMATCH"

    plan = run_plan(made_slides[:1], tmp_path, overwrite=True, **change)
    assert [row["outcome"] for row in plan.outcomes] == ["done"]


def test_overwrite_leaves_no_mixture_behind(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    run_plan(made_slides[:2], tmp_path)

    with pytest.raises(FeatureError, match=r"slide1\.h5"):
        run_plan(made_slides[:1], tmp_path, overwrite=True, dtype="float16")


def test_damaged_files_and_changed_slides_are_computed_anew(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    slides = [Path(shutil.copy(path, tmp_path / path.name)) for path in made_slides[:2]]
    out = tmp_path / "out"
    run_plan(slides, out)
    before = digests(out)
    damaged = feature_path(out, "slide0")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    shutil.copy(made_slides[2], slides[1])

    assert [item.status for item in verify_folder(out)] == ["bad", "ok"]
    plan = run_plan(slides, out)

    assert [row["outcome"] for row in plan.outcomes] == ["done", "done"]
    assert len(plan.notes) == 2
    assert digests(out)["slide0"] == before["slide0"]
    assert digests(out)["slide1"] != before["slide1"]


def test_missing_and_misnamed_files_are_found(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    plan = run_plan(made_slides, tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"slides": plan.outcomes}))
    (tmp_path / "features/slide1.h5").rename(tmp_path / "features/other.h5")

    found = {item.file: item.reason.partition(":")[0] for item in verify_folder(tmp_path)}

    assert found == {"slide0.h5": "", "slide2.h5": "", "other.h5": "FILE_MISNAMED",
                     "slide1.h5": "MISSING"}  # fmt: skip


def test_a_missing_manifest_is_made_again(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    run_plan(made_slides[:1], tmp_path)
    (tmp_path / "tiles/slide0.csv").unlink()

    assert "MANIFEST_MISSING" in verify_folder(tmp_path)[0].reason
    run_plan(made_slides[:1], tmp_path)
    assert verify_folder(tmp_path)[0].status == "ok"


def test_a_full_disk_stops_everything_and_leaves_no_half_file(
    made_slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_plan: Callable
) -> None:
    def full(*args: object) -> None:
        raise OutputError("no space left", code="DISK_FULL")

    monkeypatch.setattr("histokeras.features.extract.write_features", full)
    with pytest.raises(OutputError):
        run_plan(made_slides, tmp_path)

    assert not list((tmp_path / "features").iterdir())


def test_two_slides_of_one_name_are_refused_before_any_work(made_slides: list[Path]) -> None:
    with pytest.raises(TableError, match="share the id 'slide0'"):
        plan_extraction(sources_of([made_slides[0]] * 2), settings_of(), Path("unused"))


def test_outputs_hold_no_folder_of_the_slides(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    secret = tmp_path / "Jane Doe"
    secret.mkdir()
    slide = Path(shutil.copy(made_slides[0], secret))

    run_plan([slide], tmp_path / "out")

    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"Jane Doe" not in path.read_bytes(), path


def test_a_slide_that_fails_now_keeps_no_old_features(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    slide = Path(shutil.copy(made_slides[0], tmp_path / "s.tiff"))
    run_plan([slide], tmp_path / "out")
    slide.write_bytes(b"")

    plan = run_plan([slide], tmp_path / "out")
    assert [row["outcome"] for row in plan.outcomes] == ["failed"]
    record = {"command": "extract-features", "slides": plan.outcomes}
    (tmp_path / "out/run.json").write_text(json.dumps(record))
    with pytest.raises(FeatureError, match="no feature file"):
        index_features(tmp_path / "out")

    plan = run_plan([slide], tmp_path / "out", overwrite=True)
    assert not list((tmp_path / "out/features").iterdir())
    assert not list((tmp_path / "out/tiles").iterdir())


def test_features_of_one_folder_must_belong_together(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    run_plan(made_slides[:1], tmp_path / "a")
    run_plan(made_slides[1:2], tmp_path / "b", weights_sha256="other")
    shutil.copy(tmp_path / "b/features/slide1.h5", tmp_path / "a/features")

    with pytest.raises(FeatureError, match="weights_sha256"):
        index_features(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"precision": "int8"}, "`precision` must be one of"),
        ({"dtype": "float64"}, "`dtype` must be one of"),
        ({"compute_batch": 0}, "1 to 1024"),
        ({"backbone": "vgg"}, "`backbone` must be one of"),
    ],
)
def test_impossible_settings_are_refused(change: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        settings_of(**change)


def test_a_slide_that_changes_while_it_is_read_is_not_published(
    made_slides: list[Path], tmp_path: Path, run_plan: Callable
) -> None:
    slide = Path(shutil.copy(made_slides[0], tmp_path / "growing.tiff"))

    class Growing(FakeEngine):
        def start(self, images: np.ndarray) -> np.ndarray:
            with slide.open("ab") as file:
                file.write(b"more")
            return super().start(images)

    plan = run_plan([slide], tmp_path / "out", engine=Growing())

    assert [row["code"] for row in plan.failures] == ["SLIDE_CHANGED"]
    assert not list((tmp_path / "out/features").iterdir())


def test_settings_are_plain_json() -> None:
    settings = settings_of()
    assert isinstance(settings, FeatureSettings)

    again = json.loads(json.dumps(settings.as_dict()))

    assert again == settings.as_dict()
    assert again["tile_size_px"] == 96


def test_slide_errors_name_the_slide(made_slides: list[Path]) -> None:
    source = sources_of([Path("/nowhere/gone.svs")])[0]
    with pytest.raises(SlideError, match=r"gone\.svs"):
        source.open()
