"""What the page says of a tile: verdict, scope, words, bars."""

import numpy as np
import pytest
from PIL import Image

from histokeras.app.bars import headline, legend, probability_bars
from histokeras.app.scope import scope_remarks
from histokeras.app.verdict import judge
from histokeras.app.words import class_words, plain
from histokeras.tissue import TISSUE_COLOURS, TISSUES
from tests.app.conftest import EVIL, painted

WORDS = {"a": "glands", "b": "stroma", "c": "fat"}


@pytest.mark.parametrize(
    ("probs", "threshold", "unsure", "says"),
    [
        ({"a": 0.1, "b": 0.8, "c": 0.1}, 0.7, False, "Probability 0.80."),
        ({"a": 0.65, "b": 0.2, "c": 0.15}, 0.7, True, "glands, has 0.65, less than the 0.70"),
        ({"a": 0.42, "b": 0.48, "c": 0.1}, 0.4, True, "stroma (0.48) and glands (0.42) are close"),
        ({"a": 0.7, "b": 0.2, "c": 0.1}, 0.7, False, "Probability 0.70."),
    ],
)
def test_the_verdict(probs: dict[str, float], threshold: float, unsure: bool, says: str) -> None:
    found = judge(probs, threshold, WORDS)

    assert found.unsure is unsure
    assert says in found.sentence
    assert (found.head == "Unsure") is unsure
    assert found.best == max(probs, key=probs.__getitem__)


def remarks(image: Image.Image, **how: object) -> str:
    known = {"max_background": 0.25, "colours": None} | how
    return " ".join(scope_remarks(np.asarray(image.convert("RGB")), **known))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [name for name in TISSUES if name not in ("ADI", "MUC")])
def test_painted_tissue_is_in_scope(kind: str) -> None:
    assert remarks(painted(224, kind), max_background=0.6) == ""


def test_glass_grey_brown_and_black_are_out_of_scope() -> None:
    tile = painted()
    brown = Image.new("RGB", (64, 64), (150, 100, 60))

    white = Image.new("RGB", (64, 64), "white")
    assert "as bright as glass; tiles of the run have at most 25%" in remarks(white)
    assert remarks(white, max_background=None) == "100% of it is as bright as glass."
    assert "hardly any colour" in remarks(tile.convert("L"))
    assert "Most of it is black" in remarks(Image.new("RGB", (64, 64)))
    # Green grass, and the brown of immunohistochemistry, in which blue is taken away most.
    assert "not those of H&E" in remarks(Image.new("RGB", (64, 64), (60, 140, 50)))
    assert "not those of H&E" in remarks(brown)


def test_colours_outside_those_of_the_run_are_named() -> None:
    tile = painted()
    red, green, blue = (np.asarray(tile)[..., i].mean() / 255 for i in range(3))
    around = np.array([red, green, blue, 0.5, 0.5, 0.5])
    colours = np.stack([around - 0.5, around + 0.5])

    assert remarks(tile, colours=colours) == ""
    colours[1, 1] = green - 0.01
    assert "of the run's own pictures (mean green)" in remarks(tile, colours=colours)


def test_tissue_classes_have_words_and_others_keep_their_names() -> None:
    assert class_words(["TUM", "NORM"]) == {"TUM": "tumour (TUM)", "NORM": "normal mucosa (NORM)"}
    assert class_words(["TUM", "other"]) == {"TUM": "tumour (TUM)", "other": "other"}


def test_markdown_sees_only_letters() -> None:
    assert plain(EVIL) == r"\!\[x\]\(http\:\/\/192\.0\.2\.1\/x\.png\)"
    assert plain(":red[a]\n$b$") == r"\:red\[a\]\\n\$b\$"


def test_bars_have_the_colours_of_the_tissue_and_escape_names() -> None:
    words = {"TUM": "tumour", "STR": "<img src=x>"}

    html = probability_bars({"TUM": 0.25, "STR": 0.75}, words, threshold=0.7)

    assert f"width:25.0%;height:100%;background:{TISSUE_COLOURS['TUM']}" in html
    assert f"width:75.0%;height:100%;background:{TISSUE_COLOURS['STR']}" in html
    assert html.count("left:70.0%") == 2
    for text in (html, legend(words), headline("<img src=x>", "<b>", None)):
        assert "<img" not in text
        assert "&lt;img src=x&gt;" in text
    assert ">25%<" in probability_bars({"TUM": 0.25}, words, percent=True)
