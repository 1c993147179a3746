"""Bars and legends of classes as HTML, in the fixed colours of the classes."""

from collections.abc import Mapping
from html import escape

from histokeras.report.colours import FAINT, INK, class_looks

_ROW = "display:grid;grid-template-columns:minmax(7rem,11rem) 1fr 3rem;gap:.6rem;align-items:center"
_TRACK = "position:relative;height:1.15rem;background:#eef1f5;border-radius:3px;overflow:hidden"


def probability_bars(
    shares: Mapping[str, float],
    words: Mapping[str, str],
    *,
    threshold: float | None = None,
    percent: bool = False,
) -> str:
    """Return one bar a class, in the order given.

    Args:
        shares: Class to a number of 0..1.
        words: Class to what it is called.
        threshold: Where a line is drawn across the bars; None for none.
        percent: Whether numbers are written as percentages.
    """
    looks = class_looks(shares)
    line = "" if threshold is None else _mark(threshold)
    rows = []
    for name, share in shares.items():
        number = f"{share:.0%}" if percent else f"{share:.2f}"
        width = min(max(share, 0.0), 1.0) * 100
        bar = f'<div style="width:{width:.1f}%;height:100%;background:{looks[name].colour}"></div>'
        rows.append(
            f'<div style="{_ROW};margin:.25rem 0"><span style="overflow-wrap:anywhere">'
            f'{escape(words[name])}</span><div style="{_TRACK}">{bar}{line}</div>'
            f'<span style="text-align:right">{number}</span></div>'
        )
    return f'<div style="color:{INK};font-size:.95rem">{"".join(rows)}</div>'


def _mark(at: float) -> str:
    return (
        f'<div style="position:absolute;left:{at * 100:.1f}%;top:0;height:100%;width:2px;'
        f'background:{INK}"></div>'
    )


def footer(text: str) -> str:
    """Return a line that stays at the lower edge of the window."""
    return (
        f'<div style="position:fixed;left:0;right:0;bottom:0;z-index:1000;padding:.35rem;'
        f"text-align:center;background:#fff8e1;border-top:1px solid #e6d9a8;color:{INK};"
        f'font-size:.9rem">{escape(text)}</div>'
    )


def legend(words: Mapping[str, str]) -> str:
    """Return the colours of classes and their names."""
    looks = class_looks(words)
    items = [
        f'<span style="white-space:nowrap;margin-right:1rem"><span style="display:inline-block;'
        f"width:.8rem;height:.8rem;border-radius:2px;vertical-align:-.05rem;margin-right:.35rem;"
        f'background:{looks[name].colour}"></span>{escape(word)}</span>'
        for name, word in words.items()
    ]
    return f'<div style="color:{INK};font-size:.9rem;line-height:1.7">{" ".join(items)}</div>'


def headline(text: str, sentence: str, colour: str | None) -> str:
    """Return what is said of a tile, large, with a rule in the class's colour; grey for None."""
    return (
        f'<div style="border-left:.4rem solid {colour or FAINT};padding:.1rem 0 .1rem .8rem;'
        f'color:{INK}"><div style="font-size:1.5rem;font-weight:600;overflow-wrap:anywhere">'
        f"{escape(text)}</div><div>{escape(sentence)}</div></div>"
    )
