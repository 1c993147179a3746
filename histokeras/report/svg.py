"""matplotlib figures as inline SVG that a strict content security policy lets pass."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from histokeras.report.colours import FAINT, INK

_SETTINGS: dict[str, Any] = {
    # Text stays text: it can be read aloud, searched and copied, and takes the page's font.
    "svg.fonttype": "none",
    "svg.image_inline": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "grid.color": "#e3e6ea",
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify": True,
}
_PRESENTATION = frozenset({
    "fill", "fill-opacity", "fill-rule", "font-size", "font-style", "font-weight", "opacity",
    "stroke", "stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin",
    "stroke-miterlimit", "stroke-opacity", "stroke-width", "text-anchor", "clip-path",
})  # fmt: skip
_GEOMETRY = frozenset({
    "d", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "width", "height",
    "points", "transform", "viewBox", "id", "href", "clip-path", "clipPathUnits",
})  # fmt: skip
_ELEMENTS = frozenset({
    "svg", "g", "defs", "path", "use", "text", "tspan", "clipPath", "rect", "line", "polyline",
    "polygon", "circle", "ellipse",
})  # fmt: skip
_SHORTHAND = re.compile(r"^(?P<words>.*?)(?P<size>[\d.]+)px\b")
_LONG_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NO_TURN = re.compile(r"rotate\(-?0(?:\.0+)?(?: [^)]*)?\)")


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Draw and save figures in the look of the page, the same bytes each time, without noise.

    Args:
        name: Name of the figure, which its ids are made from.
    """
    with mpl.rc_context(), warnings.catch_warnings():
        # Not the settings of the user, which may even ask for LaTeX.
        mpl.rcdefaults()
        settings: Any = {**_SETTINGS, "svg.hashsalt": name}
        mpl.rcParams.update(settings)
        # The browser has its own fonts: what DejaVu Sans lacks, such as Chinese, matters not.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def inline_svg(figure: Figure, *, name: str, title: str, text: str) -> Markup:
    """Return a figure as one ``<svg>`` element for HTML.

    Call it inside :func:`drawing`. There is no prolog, no metadata, no style element and no style
    attribute; elements and attributes that are not known to be harmless are left out.

    Args:
        figure: The figure, drawn on ``Figure`` itself, never through pyplot.
        name: Unique on the page; begins each id.
        title: Short name, for those who cannot see it.
        text: What it shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(buffer.getvalue())
    used = _references(root)
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    body = "".join(_element(child, name, used) for child in root)
    head = (
        f'<svg viewBox="0 0 {_short(width)} {_short(height)}" width="{_short(width)}" '
        f'height="{_short(height)}" stroke-linejoin="round" stroke-linecap="butt" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(text)}</desc>'
    )
    return Markup(f"{head}{body}</svg>")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _references(root: ET.Element) -> set[str]:
    """Return the ids that something points at; all others are noise."""
    found: set[str] = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if _local(key) == "href":
                found.add(value.removeprefix("#"))
            found.update(_REFERENCE.findall(value))
    return found


def _element(element: ET.Element, name: str, used: set[str]) -> str:
    tag = _local(element.tag)
    if tag not in _ELEMENTS:
        return ""
    inner = "".join(_element(child, name, used) for child in element)
    if tag in ("text", "tspan"):
        inner = escape(element.text or "") + inner
    attributes = _attributes(element, name, used)
    if tag in ("g", "defs") and not inner:
        return ""
    if tag == "g" and not attributes:
        return inner
    written = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>"


def _attributes(element: ET.Element, name: str, used: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in element.attrib.items():
        key = _local(key)
        if key == "style":
            found.update(_declarations(value))
        elif key in _GEOMETRY and not (key == "id" and value not in used):
            found[key] = " ".join(value.split())
    found = {key: _value(key, value, name) for key, value in found.items()}
    return {key: value for key, value in found.items() if value}


def _value(key: str, value: str, name: str) -> str:
    """Return an attribute with short numbers and ids of its own; "" if it says nothing."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    if "url(#" in value:
        return _REFERENCE.sub(rf"url(#{name}-\1)", value)
    if key == "transform":
        value = _NO_TURN.sub("", value).strip()
    return _LONG_NUMBER.sub(lambda match: _short(float(match[0])), value)


def _declarations(style: str) -> dict[str, str]:
    """Turn a style attribute into presentation attributes."""
    found: dict[str, str] = {}
    for part in style.split(";"):
        key, _, value = (item.strip() for item in part.partition(":"))
        if key == "font":
            found.update(_font(value))
        elif key in _PRESENTATION:
            found[key] = value.removesuffix("px") if key == "font-size" else value
    return found


def _font(value: str) -> dict[str, str]:
    """Take size, weight and slant from ``font: italic bold 10px 'DejaVu Sans'``."""
    match = _SHORTHAND.match(value)
    if match is None:
        return {}
    words = match["words"].split()
    found = {"font-size": match["size"]}
    for word in words:
        if word in ("italic", "oblique"):
            found["font-style"] = word
        elif word in ("bold", "bolder", "lighter") or word.isdigit():
            found["font-weight"] = word
    return found


def _short(value: float) -> str:
    """Write a number with at most two decimals: a hundredth of a point cannot be seen."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
