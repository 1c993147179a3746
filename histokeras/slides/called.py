"""Errors of a slide under its pseudonym: outputs repeat them, and must not tell its own name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histokeras.errors import HistokerasError, OutputError, SlideError
from histokeras.slides.checks import slide_id_of

_SHORT = 3


def renamed(text: str, own: str, slide_id: str) -> str:
    """Return a text with a slide's pseudonym in place of its own name.

    Args:
        text: A message; file names in it begin with the slide's.
        own: The slide's own name. Of up to three letters it counts as a word of its own only: it
            may be part of a number.
        slide_id: The pseudonym.
    """
    if len(own) > _SHORT:
        return text.replace(own, slide_id)
    pattern = rf"(?<![^\W_]){re.escape(own)}(?![^\W_])"
    return re.sub(pattern, lambda _: slide_id, text)


@contextmanager
def called(path: Path, slide_id: str) -> Iterator[None]:
    """Let errors of a slide name it by its pseudonym; without one they pass as they are.

    Args:
        path: The slide.
        slide_id: What it is called in outputs.

    Raises:
        SlideError: In place of errors of a library, whose text may hold the path (UNEXPECTED).
        HistokerasError: Of the kind that was raised; what is said of an output stays as it is.
    """
    own = slide_id_of(path)
    if slide_id == own:
        yield
        return
    try:
        yield
    except OutputError:
        raise
    except HistokerasError as error:
        message, hint = (renamed(text, own, slide_id) for text in (error.message, error.hint))
        raise type(error)(message, code=error.code, hint=hint) from error
    except Exception as error:
        raise SlideError(
            f"{type(error).__name__}: {renamed(str(error), own, slide_id)}",
            code="UNEXPECTED",
            hint="This looks like a bug of histokeras: please report it with this line.",
        ) from error
