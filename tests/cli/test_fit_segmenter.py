import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from histokeras.cli.main import main
from histokeras.models.segmenter_file import read_segmenter
from histokeras.tiles.windows import windows_of
from histokeras.training.windows import predictor, segment_image
from tests.training.blobs import paint_blobs

SMALL = ("--network", "unet", "--channels", 4, "--crop-px", 64, "--batch-size", 2, "--epochs", 2,
         "--steps-per-epoch", 2, "--bootstrap", 100, "--gpus", "cpu")  # fmt: skip


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fit-segmenter", *(str(item) for item in arguments)])


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def paint(folder: Path, n: int, *, empty: tuple[int, ...] = ()) -> Path:
    """Write images of n patients with masks of 0 and 255."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(n):
        image, mask = paint_blobs(number, 80)
        mask[: 80 if number in empty else 0] = 0
        Image.fromarray(image).save(folder / f"images/TCGA-AA-000{number}.png")
        Image.fromarray(mask * 255).save(folder / f"masks/TCGA-AA-000{number}.png")
    return folder


def given(folder: Path, output: Path) -> tuple[object, ...]:
    return folder / "images", "--masks", folder / "masks", "-o", output, *SMALL


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("painted"), 6)


@pytest.fixture(scope="module")
def crossed(painted: Path) -> tuple[Path, Result]:
    output = painted / "run"
    return output, call(*given(painted, output), "--cv", 3, "--mask-class", "blob")


def test_every_image_is_tested_once_and_all_is_written(crossed: tuple[Path, Result]) -> None:
    run, result = crossed

    assert result.exit_code == 0, result.output
    images, patients = (pd.read_csv(run / name) for name in ("images.csv", "patients.csv"))
    metrics = json.loads((run / "metrics.json").read_text())
    record = json.loads((run / "run.json").read_text())
    history = pd.read_csv(run / "history.csv")
    assert images["image_id"].is_unique
    assert len(images) == len(patients) == 6
    assert sorted(images["fold"].unique()) == [0, 1, 2]
    assert history.groupby("fold").size().tolist() == [2, 2, 2]
    assert {"loss", "val_loss", "val_iou", "val_dice", "learning_rate"} <= set(history)
    assert metrics["classes"] == ["background", "blob"]
    assert list(metrics["models"]) == ["network", "colour", "otsu"]
    assert record["status"] == "done"
    assert record["funnel"] == {"patients": 6, "images": 6, "used": 6}
    assert [len(row) > 3 for row in record["trained"]] == [True] * 3
    assert not (run / "checkpoints").exists()
    assert "report.html" in result.output
    # Painted in two colours: what a floor must find.
    assert images["colour_dice"].min() > 0.95


def test_figures_are_those_of_the_segmenter_that_was_saved(
    crossed: tuple[Path, Result], painted: Path
) -> None:
    run, _ = crossed
    row = pd.read_csv(run / "images.csv").iloc[0]
    name = row["image_id"]
    windows = windows_of(64, pools_all=False)
    model, card = read_segmenter(run / f"folds/{row['fold']}/segmenter")
    image = pixels(painted / f"images/{name}.png")

    found = segment_image(predictor(model, windows.batch_size), image, 2, windows).argmax(-1)

    saved = pixels(run / f"predictions/{name}.png")
    np.testing.assert_array_equal(found, saved)
    truth = pixels(painted / f"masks/{name}.png") > 0
    assert row["network_px_1_1"] == (truth & (saved == 1)).sum()
    assert row["network_px_0_1"] == (~truth & (saved == 1)).sum()
    assert (card["crop_px"], card["positive"], card["mpp"]) == (64, "blob", None)
    for kind in ("truth", "predicted"):
        assert pixels(run / f"pictures/{name}.{kind}.png").shape == (80, 80)


def test_the_same_command_again_does_nothing_and_another_is_refused(
    crossed: tuple[Path, Result], painted: Path
) -> None:
    run, _ = crossed
    before = (run / "metrics.json").stat().st_mtime_ns

    again = call(*given(painted, run), "--cv", 3, "--mask-class", "blob")
    other = call(*given(painted, run), "--cv", 3, "--mask-class", "blob", "--lr", 0.1)

    assert again.exit_code == 0, again.output
    assert "nothing to do" in again.output
    assert (run / "metrics.json").stat().st_mtime_ns == before
    assert other.exit_code == 3
    assert "other training (learning_rate)" in other.output


def test_what_a_finished_run_has_lost_is_made_again(
    crossed: tuple[Path, Result], painted: Path
) -> None:
    run, _ = crossed
    weights = run / "folds/1/segmenter/weights.safetensors"
    before = weights.read_bytes()
    weights.unlink()

    again = call(*given(painted, run), "--cv", 3, "--mask-class", "blob")

    assert again.exit_code == 0, again.output
    assert weights.read_bytes() == before


def test_one_split_reads_images_at_the_resolution_asked_for(painted: Path, tmp_path: Path) -> None:
    names = sorted(path.stem for path in (painted / "images").glob("*.png"))
    pairs = pd.DataFrame(
        {
            "image": [f"{name}.png" for name in names],
            "mask": [str(painted / f"masks/{name}.png") for name in names],
            "patient_id": [f"p{number}" for number in range(6)],
            "mpp": 0.5,
        }
    )
    pairs.to_csv(tmp_path / "pairs.csv", index=False)

    result = call(
        painted / "images", "--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "run", *SMALL,
        "--mpp", 1, "--shares", "50/20/30", "--grey",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    images = pd.read_csv(tmp_path / "run/images.csv")
    assert images["width_px"].tolist() == [40] * len(images)
    assert images["patient_id"].str.startswith("p").all()
    assert (images["mpp"] == 1).all()
    assert "6 of 6 images are smaller than a crop of 64 px" in result.output
    assert "as one pool: " in result.output
    card = json.loads((tmp_path / "run/segmenter/model.json").read_text())
    assert (card["mpp"], card["n_inputs"]) == (1, 1)
    assert "U-Net on their luminance alone" in (tmp_path / "run/report.html").read_text()
    # 80 px at 0.5 um are 40 px at 1 um: nothing is lost at the border.
    assert images["network_px_0_0"].add(images["network_px_0_1"]).lt(1600).all()


@pytest.mark.parametrize(
    ("n", "empty", "options", "code", "message"),
    [
        (2, (), (), 3, "2 patient(s) cannot be put on 3 sides"),
        (4, (), ("--cv", 5), 3, "cannot be put on 5 folds. Give --cv 4 at most"),
        (4, (0, 1, 2), (), 3, "no pixel of foreground lies on the side"),
        (4, (), ("--shares", "75/25/0"), 3, "no labelled image lies on the side test"),
        (3, (), ("--crop-px", 100), 2, "multiple of 32"),
        (3, (), ("--backbone", "mini"), 2, "has no backbone"),
        (3, (), ("--network", "deeplabv3", "--grey"), 2, "`--grey` is of `--network unet`"),
        (3, (), ("--gpus", "7"), 2, "names GPU 7"),
        (3, (), ("--shares", "50/25/25", "--cv", 3), 2, "exclude each other"),
    ],
)
def test_slips_are_one_line(
    n: int, empty: tuple[int, ...], options: tuple[object, ...], code: int, message: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = paint(tmp_path, n, empty=empty)

    result = call(*given(folder, tmp_path / "run"), *options)

    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "run/metrics.json").exists()


def test_images_without_patients_are_refused_unless_accepted(tmp_path: Path) -> None:
    folder = paint(tmp_path, 4)
    shares = ("--patients-unknown", "--shares", "50/25/25")
    for path in folder.glob("*/*.png"):
        path.rename(path.with_name(path.name.replace("TCGA-AA-", "image")))

    refused = call(*given(folder, tmp_path / "run"))
    accepted = call(*given(folder, tmp_path / "run"), *shares)

    assert refused.exit_code == 3, refused.output
    assert "--patients-unknown" in refused.output
    assert "--slide-table" in refused.output
    assert accepted.exit_code == 0, accepted.output
    assert "not patient-safe" in accepted.output
    images = pd.read_csv(tmp_path / "run/images.csv")
    assert images["patient_id"].isna().all()
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (metrics["resampled_by"], metrics["note"]) == (
        "image", "slide-level, not patient-safe",
    )  # fmt: skip


def test_one_picture_under_two_patients_is_a_leak(tmp_path: Path) -> None:
    folder = paint(tmp_path, 4)
    for name in ("images", "masks"):
        twin = folder / name / "TCGA-AA-0003.png"
        twin.write_bytes((folder / name / "TCGA-AA-0001.png").read_bytes())

    result = call(*given(folder, tmp_path / "run"))

    assert result.exit_code == 3
    assert "images TCGA-AA-0001 and TCGA-AA-0003 are the same file" in result.output
