"""A name that stands in a slide's description, label image or folder goes into no output.

Ids are what the user calls slides and patients, and go into outputs as they are.
"""

import base64
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from histokeras.cli.main import main
from histokeras.slides.reader import open_slide
from histokeras.slides.synthetic.plain import paint_slide

NAME = "Mustermann"
SECRETS = [text.encode(code) for text in (NAME, NAME.lower(), NAME.upper(), "SS7777", "12/24/25")
           for code in ("utf-8", "utf-16-le")]  # fmt: skip
TEXT = (
    "Aperio Image Library v12.0.15\r\n448x448 [0,0 448x448] (240x240) JPEG/RGB Q=90|AppMag = 20|"
    f"MPP = 0.5|Filename = {NAME}|User = {NAME}|ScanScope ID = SS7777|Date = 12/24/25"
)


def write_svs(path: Path, seed: int) -> None:
    """A slide as an Aperio scanner writes it, with a name wherever one may stand."""
    image = paint_slide(seed=seed, size_px=(448, 448), mpp=0.5, kind="ab"[seed % 2])
    told = np.frombuffer((NAME * 480).encode()[:4800], np.uint8).reshape(40, 40, 3)
    jpeg = {"photometric": "rgb", "compression": "jpeg", "metadata": None, "software": False}
    plain = {"photometric": "rgb", "metadata": None, "software": False}
    with tifffile.TiffWriter(path) as file:
        file.write(image, tile=(240, 240), description=TEXT, **jpeg)
        file.write(image[::8, ::8].copy(), description=f"Aperio {NAME}", **plain)
        file.write(image[::4, ::4].copy(), tile=(112, 112), description=TEXT, **jpeg)
        file.write(told, description=f"Aperio {NAME}\r\nlabel 40x40", subfiletype=1, **plain)
        file.write(told, description=f"Aperio {NAME}\r\nmacro 40x40", subfiletype=9, **plain)


def call(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve slides in a folder of that name, and tables that know patients by number."""
    folder = tmp_path_factory.mktemp("lab")
    slides = folder / NAME / f"{NAME}_slides"
    slides.mkdir(parents=True)
    rows = []
    for number in range(12):
        write_svs(slides / f"s{number:02d}.svs", number)
        rows.append((f"p{number:02d}", f"s{number:02d}", f"{'ab'[number % 2]}"))
    table = pd.DataFrame(rows, columns=["patient_id", "slide_id", "label"])
    table.to_csv(folder / NAME / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def said(lab: Path) -> dict[str, Result]:
    """The whole flow, into the folder ``out``."""
    slides, labels, out = lab / NAME / f"{NAME}_slides", lab / NAME / "labels.csv", lab / "out"
    tile = ("--tile-px", 96)
    fit = ("--labels", labels, "--epochs", 1, "--bootstrap", 100)
    run = out / "run"
    return {
        "slides": call("slides", slides, "--json"),
        "slides, as text": call("slides", slides),
        "tile": call("tile", slides, "-o", out / "tiles", "--save-images", *tile),
        "extract": call("extract-features", slides, "-o", out / "feats", "--backbone",
                        "stain-texture", *tile),
        "split": call("split", "--labels", labels, "--target", "label", "-o", out / "split.csv"),
        "fit": call("fit-head", out / "feats", "-o", run, "--split", out / "split.csv", *fit),
        "predict": call("predict", run, slides, "--slide-table", labels, "-o", out / "predicted"),
        "evaluate": call("evaluate", run, "-o", out / "evaluated", "--bootstrap", 100),
        "heatmap": call("heatmap", run, slides / "s00.svs"),
        "report": call("report", run),
    }  # fmt: skip


def contents(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, and what is packed inside."""
    data = path.read_bytes()
    yield data
    yield str(path.name).encode()
    if path.suffix == ".h5":
        yield from hdf5_contents(path)
    if path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            yield repr(image.info).encode()
    if path.suffix == ".gz":
        yield gzip.decompress(data)
    for packed in re.findall(rb"base64,([A-Za-z0-9+/=]+)", data):
        picture = base64.b64decode(packed)
        yield picture
        with Image.open(io.BytesIO(picture)) as image:
            yield repr(image.info).encode()


def hdf5_contents(path: Path) -> Iterator[bytes]:
    with h5py.File(path) as file:
        for item in (file, *file.values()):
            yield repr(dict(item.attrs)).encode()
        for dataset in file.values():
            values = dataset[()]
            yield repr(values.tolist()).encode() if values.dtype == object else values.tobytes()


def test_the_slides_are_what_they_should_be(lab: Path) -> None:
    path = lab / NAME / f"{NAME}_slides" / "s00.svs"

    with open_slide(path) as slide:
        assert (slide.vendor, slide.mpp, slide.level_count) == ("aperio", 0.5, 2)
    found = [secret for secret in SECRETS[:1] if secret in path.read_bytes()]
    assert found
    with tifffile.TiffFile(path) as file:
        assert [page.is_tiled for page in file.pages] == [True, False, True, False, False]


def test_no_output_file_holds_the_name(lab: Path, said: dict[str, Result]) -> None:
    files = [path for path in (lab / "out").rglob("*") if path.is_file()]

    leaks = {
        str(path.relative_to(lab / "out"))
        for path in files
        for content in contents(path)
        if any(secret in content for secret in SECRETS)
    }

    assert len(files) > 100
    assert {path.suffix for path in files} >= {".h5", ".csv", ".json", ".html", ".png", ".geojson"}
    assert leaks == set()


def test_no_result_on_the_screen_holds_the_name(lab: Path, said: dict[str, Result]) -> None:
    leaks = [command for command, result in said.items() if NAME in result.output]

    assert leaks == []
