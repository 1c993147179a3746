import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from histokeras.features.store import read_features


def test_a_run_on_normalised_stains_predicts_new_slides_the_same_way(
    lab: Path, histokeras: Callable[..., Result], tmp_path: Path
) -> None:
    feats, run, out = tmp_path / "f", tmp_path / "run", tmp_path / "p"
    options = ("--backbone", "stain-texture", "--tile-px", 96)
    made = histokeras(
        "extract-features", lab / "slides", "-o", feats, *options, "--stain-norm", "macenko"
    )
    assert made.exit_code == 0, made.output
    assert "tiles of 96 px at 0.5 um/px, stain macenko" in made.stderr
    assert json.loads((feats / "run.json").read_text())["settings"]["stain_norm"] == "macenko"

    other = histokeras("extract-features", lab / "slides", "-o", feats, *options)
    assert other.exit_code == 3
    assert "stain_norm macenko (wanted none)" in other.stderr

    fitted = histokeras("fit-head", feats, "--labels", lab / "labels.csv", "--target", "Label",
                        "-o", run, "--head", "linear", "--bootstrap", 100)  # fmt: skip
    assert fitted.exit_code == 0, fitted.output
    assert "Macenko et al. (2009), estimated once a slide" in (run / "report.html").read_text()

    done = histokeras("predict", run, lab / "slides/case01-A.tiff", "-o", out)
    assert done.exit_code == 0, done.output
    known, again = (read_features(folder / "features/case01-A.h5") for folder in (feats, out))
    assert known.provenance == again.provenance
