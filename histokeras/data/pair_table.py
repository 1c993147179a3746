"""The table of pairs: which image has which mask, and whose it is."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histokeras.data.mask_files import MASK_SUFFIXES
from histokeras.errors import SlideError, TableError
from histokeras.slides.checks import slide_id_of
from histokeras.tables import read_table, require_columns, row_numbers, with_standard_columns
from histokeras.types import PATIENT_ID, SLIDE_ID

IMAGE, MASK, IMAGE_ID, MPP = "image", "mask", "image_id", "mpp"


def read_pair_table(path: Path, folders: Sequence[Path]) -> pd.DataFrame:
    """Read a table of pairs.

    Args:
        path: With the columns image and mask (paths relative to the table's folder or to one of
            ``folders``, or absolute), and any of image_id, slide_id, patient_id, mpp; every other
            column is kept as it is.
        folders: Where else the files may lie.

    Returns:
        One row a pair, all text: image_id (the image's name without extension, unless given),
        slide_id (the same, unless given), patient_id and mpp ("" where the table does not say),
        image and mask as paths that exist ("" where there is no mask), and the other columns.

    Raises:
        TableError: If a column is missing, an mpp is no number, or two rows are one image.
        SlideError: PAIRS_MISSING if a file is not there.
    """
    read = read_table(path, name="pairs table")
    table = with_standard_columns(read, (SLIDE_ID, PATIENT_ID, MPP))
    name = f"pairs table {path}"
    require_columns(table, (IMAGE, MASK), name=name)
    table = table.copy()
    numbers = row_numbers(read)
    places = [path.parent, *folders]
    for column in (IMAGE, MASK):
        table[column] = [
            _existing(cell, places, f"{name}, row {number}") if cell or column == IMAGE else ""
            for number, cell in zip(numbers, table[column], strict=True)
        ]
    for column in (IMAGE_ID, SLIDE_ID):
        known = table[column] if column in table else [""] * len(table)
        table[column] = [
            cell or slide_id_of(image) for cell, image in zip(known, table[IMAGE], strict=True)
        ]
    for column in (PATIENT_ID, MPP):
        if column not in table:
            table[column] = ""
    _require_rows(table, numbers, name)
    return table


def _existing(cell: str, places: Sequence[Path], where: str) -> str:
    for place in places:
        if cell and (found := place / cell.replace("\\", "/")).is_file():
            return str(found)
    raise SlideError(
        f"{where}: no file `{cell}`.",
        code="PAIRS_MISSING",
        hint="Paths are relative to the table's folder, or to the folders of images and masks.",
    )


def _require_rows(table: pd.DataFrame, numbers: Sequence[int], name: str) -> None:
    seen: dict[str, int] = {}
    rows = zip(numbers, table[IMAGE_ID], table[MPP], table[MASK], strict=True)
    for number, image_id, mpp, mask in rows:
        if image_id in seen:
            raise TableError(
                f"{name}: rows {seen[image_id]} and {number} are both `{image_id}`.",
                code="DUPLICATE_IMAGE",
                hint="Keep one row an image, or tell them apart by a column `image_id`.",
            )
        seen[image_id] = number
        _require_number(mpp, f"{name}, row {number}")
        if mask and Path(mask).suffix.lower() not in MASK_SUFFIXES:
            raise TableError(
                f"{name}, row {number}: `{Path(mask).name}` is no mask "
                f"({' '.join(sorted(MASK_SUFFIXES))})."
            )


def _require_number(cell: str, where: str) -> None:
    try:
        float((cell or "1").replace(",", "."))
    except ValueError as error:
        raise TableError(
            f"{where}: `mpp` is no number. Received: {cell!r}",
            hint="Give micrometres per pixel, such as 0.25, or leave the cell empty.",
        ) from error
