"""Names of classes in words, and text of strangers that no page takes for Markdown or HTML."""

import re
from collections.abc import Sequence

from histokeras.foreign.text import printable
from histokeras.tissue import TISSUE_WORDS, tissue_of

_MARKS = re.compile(r"([!-/:-@\[-`{-~])")
RESEARCH = "For research use only. Not a medical device."


def plain(text: str) -> str:
    """Return text that Markdown shows as it is: no link, picture, formula or symbol comes of it."""
    return _MARKS.sub(r"\\\1", printable(str(text), one_line=True))


def class_words(classes: Sequence[str]) -> dict[str, str]:
    """Return what a class is called on the page: of the eight tissue classes also their words."""
    words = {}
    for name in classes:
        shown, tissue = printable(name, one_line=True), tissue_of(name)
        words[name] = shown if tissue is None else f"{TISSUE_WORDS[tissue]} ({shown})"
    return words
