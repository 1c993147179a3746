"""An image and its mask, as files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and its mask.

    Attributes:
        image_id: What it is called in tables; no two pairs have the same.
        image: A slide or a picture.
        mask: A mask, or a file of drawn regions.
        slide_id: The slide that the image shows or was cut from.
        patient_id: "" if nobody knows.
        mpp: Micrometres per level-0 pixel, None if nobody knows.
    """

    image_id: str
    image: Path
    mask: Path
    slide_id: str
    patient_id: str = ""
    mpp: float | None = None
