import warnings

import pytest
from matplotlib.figure import Figure

from histokeras.report.colours import class_looks
from histokeras.report.svg import drawing, inline_svg
from histokeras.report.text import clean, interval, number


def draw(label: str) -> str:
    with drawing("fig"):
        figure = Figure(figsize=(2, 2))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], "--o", color="#0072b2")
        axes.set_xlabel(label, weight="bold")
        return inline_svg(figure, name="fig", title=label, text="text")


def test_svg_bears_no_style_no_prolog_and_only_its_own_ids() -> None:
    svg = draw("x")

    assert svg.startswith("<svg viewBox=")
    for word in ("style", "<?xml", "<metadata", "xmlns", "http", 'id="axes', "DejaVu"):
        assert word not in svg
    assert 'id="fig-' in svg
    assert 'href="#fig-' in svg
    assert 'stroke="#0072b2"' in svg
    assert 'font-size="11"' in svg
    assert svg == draw("x")


def test_font_shorthand_becomes_attributes() -> None:
    from histokeras.report.svg import _declarations

    assert _declarations("font: italic 700 10.5px 'DejaVu Sans', serif; text-anchor: end") == {
        "font-size": "10.5", "font-style": "italic", "font-weight": "700", "text-anchor": "end",
    }  # fmt: skip
    assert _declarations("position: fixed; fill: #fff") == {"fill": "#fff"}


@pytest.mark.parametrize("label", ["$\\frac{1}$", "_a", "<script>&]]>", "日本語"])
def test_labels_are_text_not_mathematics_and_make_no_noise(label: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = draw(label)

    escaped = label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert svg.count(escaped) == 2


def test_colours_belong_to_sorted_classes_and_stay_distinct() -> None:
    looks = class_looks([f"class {i:02d}" for i in range(24)])

    assert looks == class_looks([f"class {i:02d}" for i in reversed(range(24))])
    assert len(set(looks.values())) == 24


def test_figures_have_three_decimals_and_their_interval() -> None:
    assert interval({"value": 0.9333, "low": 0.8762, "high": 0.978}) == "0.933 [0.876, 0.978]"
    assert interval({"value": 0.5, "low": None, "high": None}) == "0.500 [no interval]"
    assert interval(None) == "\u2013"
    assert number(-0.01234, signed=True) == "\u22120.012"
    assert number(-0.0001) == "0.000"
    assert number(float("nan")) == "\u2013"


def test_text_is_cleaned_of_what_no_page_may_hold() -> None:
    assert clean({"a\x00": ["b\u202e\ud800", float("nan"), 1]}) == {
        "a\ufffd": ["b\ufffd\ufffd", None, 1]
    }
    assert clean("é 日本 \n") == "é 日本  "
