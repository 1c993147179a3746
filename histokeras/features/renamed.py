"""Slides and ready-made tiles under their pseudonyms, before anything is written of them."""

import dataclasses
from collections.abc import Sequence

import pandas as pd

from histokeras.cohort.pseudonyms import translated
from histokeras.cohort.tcga import Chosen, normal_tissue
from histokeras.errors import TableError
from histokeras.features.ready_made import TileSetSource
from histokeras.features.sources import SlideSource, Source
from histokeras.tables.pseudonyms import Pseudonyms
from histokeras.types import PATIENT_ID, SLIDE_ID, TILE

_SHORT = 3


def under_pseudonyms(
    sources: Sequence[Source], chosen: Chosen, pseudonyms: Pseudonyms
) -> tuple[list[Source], Chosen]:
    """Give slides and ready-made tiles their pseudonyms.

    Args:
        sources: Slides, or tiles with what their table says.
        chosen: The slides that are left out, which the record lists too.
        pseudonyms: The table of pseudonyms.

    Returns:
        The same in the same order.

    Raises:
        TableError: PSEUDONYM_MISSING with the first slides or patients that have none, and their
            number; PSEUDONYM_UNSAFE if the name of a tile still tells whose it is.
    """
    pseudonyms.require([s.slide_id for s in sources if isinstance(s, SlideSource)], "slide")
    sets = [source for source in sources if isinstance(source, TileSetSource)]
    if sets:
        _require_all(pd.concat([source.table for source in sets]), pseudonyms)
    renamed = [_renamed(source, pseudonyms) for source in sources]
    names = {old.slide_id: new.slide_id for old, new in zip(sources, renamed, strict=True)}
    left_out = {names[name]: why for name, why in chosen.left_out.items()}
    return renamed, dataclasses.replace(chosen, left_out=left_out)


def normal_tissue_notes(sources: Sequence[Source], chosen: Chosen) -> list[str]:
    """Say which slides will no longer tell that they are of normal tissue.

    Args:
        sources: Slides under their own names.
        chosen: Those that are left out.
    """
    names = [source.slide_id for source in sources if source.slide_id not in chosen.left_out]
    normal = [name for name in names if normal_tissue(name)]
    if not normal:
        return []
    return [
        f"{len(normal)} slide(s) are of normal tissue, first {normal[0]!r}; under pseudonyms "
        "nothing tells so, and they take the label of their patient: leave them out with "
        "--sample-types 01"
    ]


def _require_all(table: pd.DataFrame, pseudonyms: Pseudonyms) -> None:
    """Check the ids of all tiles at once, and that no tile's path keeps one."""
    renamed = translated(table, pseudonyms)
    for column in (SLIDE_ID, PATIENT_ID):
        for tile, path, name, pseudonym in zip(
            table[TILE], renamed[TILE], table[column], renamed[column], strict=True
        ):
            if len(name) > _SHORT and name != pseudonym and name.casefold() in path.casefold():
                raise _kept(tile, name)
    twice = renamed[TILE][renamed[TILE].duplicated()]
    if len(twice):
        raise TableError(
            f"{len(twice)} tile(s) get the path of another one, first `{twice.iloc[0]}`.",
            code="PSEUDONYM_CONFLICT",
            hint="Rename them: tiles and pseudonyms must not be taken for each other.",
        )


def _kept(tile: str, name: str) -> TableError:
    return TableError(
        f"tile `{tile}`: its path holds {name!r} inside a word, where no pseudonym can take its "
        "place.",
        code="PSEUDONYM_UNSAFE",
        hint="Rename the tiles so that a dash, blank, dot or underscore parts the id.",
    )


def _renamed(source: Source, pseudonyms: Pseudonyms) -> Source:
    if isinstance(source, SlideSource):
        return dataclasses.replace(source, slide_id=pseudonyms.of(source.slide_id))
    if not isinstance(source, TileSetSource):
        raise TypeError(f"no pseudonyms for {type(source).__name__}")
    table = translated(source.table, pseudonyms)
    table.index = source.table.index
    slide_id = table[SLIDE_ID].iloc[0] or pseudonyms.masked(source.slide_id)
    return dataclasses.replace(source, slide_id=str(slide_id), table=table)
