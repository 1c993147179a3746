"""A small run with everything that its page shows, made once and without training."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from histokeras.app.settings import Settings
from histokeras.files import write_csv, write_json
from histokeras.slides.synthetic import write_slide
from histokeras.slides.synthetic.stains import StainProfile
from histokeras.slides.synthetic.tiles import render_tile, tissue_tile
from tests.training.made_run import CLASSES, write_run

SIDE = 64
EVIL = "![x](http://192.0.2.1/x.png)"
"""A name that Markdown would make a request to a stranger of."""


def painted(size_px: int = SIDE, kind: str = "TUM", seed: int = 3) -> Image.Image:
    return Image.fromarray(
        render_tile(tissue_tile(kind, seed=seed, size_px=size_px), StainProfile())
    )


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A run on mini, two slides of which it has predicted S1, its patients, their composition."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "slides").mkdir()
    for number in (1, 2):
        path = folder / "slides" / f"S{number}.tiff"
        write_slide(path, seed=number, size_px=(320, 256), kind="a")
    run = write_run(folder / "run", size_px=SIDE, positive="glands", temperatures=(1.25,))
    write_json(run / "run.json", {"command": "fit-head", "status": "done", "classes": CLASSES})
    (run / "split.csv").write_text("patient_id,split\n")
    (run / "pictures").mkdir()
    painted(kind="NOR").save(run / "pictures" / "0.jpg")
    row = {"file": "pictures/0.jpg", "slide_id": "S1", "tile": "", "x": 64, "y": 128,
           "split": "test", "label": "glands", "predicted": "glands", "prob": 0.5,
           "why": "sample"}  # fmt: skip
    overview = row | {"file": "pictures/0.jpg", "x": "", "y": "", "why": "overview"}
    write_csv(run / "pictures.csv", pd.DataFrame([overview, row]))
    boxes = pd.DataFrame({"minx": [0, 64, 128], "miny": [0, 0, 64], "width": 64, "height": 64})
    glands = np.array([0.95, 0.2, 0.55])
    (run / "predictions").mkdir()
    write_csv(
        run / "predictions" / "S1.csv", boxes.assign(prob_glands=glands, prob_stroma=1 - glands)
    )
    people = pd.DataFrame(
        {
            "patient_id": ["007", EVIL],
            "split": ["test", "train"],
            "label": CLASSES,
            "n_tiles": [3, 4],
            "prob_glands": [0.75, 0.25],
            "prob_stroma": [0.25, 0.75],
            "predicted": CLASSES,
        }
    )
    write_csv(run / "patients.csv", people)
    (folder / "composition").mkdir()
    write_csv(
        folder / "composition" / "patients.csv",
        pd.DataFrame(
            {
                "patient_id": ["007"],
                "split": [""],
                "share_glands": [0.667],
                "share_glands_low": [0.1],
                "share_stroma": [0.333],
            }
        ),
    )
    return Settings(run=run, slides=folder / "slides", composition=folder / "composition")
