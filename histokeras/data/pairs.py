"""Images with their masks: found by name or table, checked, and described for a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd

from histokeras.cohort.ids import canonical_patient
from histokeras.cohort.patients import PatientFinder
from histokeras.data.mask_choice import choose_decoding
from histokeras.data.mask_drawn import choose_drawn
from histokeras.data.mask_files import REGIONS
from histokeras.data.mask_sizes import require_fitting
from histokeras.data.masks import Decoding, MaskCoding
from histokeras.data.pair import Pair
from histokeras.data.pair_names import match_names
from histokeras.data.pair_table import IMAGE, IMAGE_ID, MASK, MPP, read_pair_table
from histokeras.errors import ConfigError, SlideError
from histokeras.files import canonical_json, sha256_file, sha256_text
from histokeras.slides.checks import text_of
from histokeras.slides.reader import open_slide
from histokeras.types import PATIENT_ID, SLIDE_ID

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class PairSet:
    """Images with their masks, and what the masks mean.

    Attributes:
        pairs: Sorted by image_id.
        decoding: How masks become class numbers; its ``classes`` are those of the set.
        content_id: SHA-256 of what decides a run on them: the content of images and masks, whose
            they are, their resolution, and the decoding. Of names only slide_ids count.
        without_mask: Names of images that are left out because they have no mask.
        without_image: Names of masks that are left out because they have no image.
        notes: Remarks for the user, a sentence each.
        table: One row a pair in the same order, all text: image_id, slide_id, patient_id, mpp, and
            the columns of the table of pairs that mean nothing here (label, split, ...).
    """

    pairs: tuple[Pair, ...]
    decoding: Decoding
    content_id: str
    without_mask: tuple[str, ...] = ()
    without_image: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    table: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return self.decoding.classes

    @property
    def positive(self) -> str | None:
        """Of two classes the one of interest, the second; None if none is."""
        return self.decoding.positive


def find_pairs(
    images: Path | None,
    masks: Path | None = None,
    *,
    table: Path | None = None,
    coding: MaskCoding | None = None,
    slide_patients: Mapping[str, str] | None = None,
    default_mpp: float | None = None,
) -> PairSet:
    """Find images with their masks, read every mask once, and decide what the masks mean.

    Args:
        images: Folder of slides or pictures; beside a table only where its files may lie, or None.
        masks: Folder of masks or drawn regions, None if they lie among the images; likewise.
        table: Table with the columns image, mask and any of image_id, slide_id, patient_id, mpp.
        coding: What the user says of the masks; ``MaskCoding()`` if None.
        slide_patients: slide_id -> patient_id, from a slide table.
        default_mpp: Resolution of images that do not tell it.

    Returns:
        The set. The patient is that of the table, else of ``slide_patients``, else of a TCGA
        barcode, else "".

    Raises:
        SlideError: PAIRS_MISSING, or if an image or a mask cannot be read.
        TableError: If two files fit one name, sizes differ (MASK_SIZE), or masks hold what they
            must not.
        ConfigError: MASK_AMBIGUOUS if masks may be read in two ways.
    """
    coding = coding or MaskCoding()
    rows, without_mask, without_image = _rows(images, masks, table)
    pairs = _with_patients(rows, slide_patients or {})
    paths = [pair.mask for pair in pairs]
    drawn = [path for path in paths if path.suffix.lower() in REGIONS]
    sizes: Sequence[tuple[int, int] | None]
    _require_heeded(coding, is_drawn=bool(drawn))
    if drawn and len(drawn) < len(paths):
        other = next(path for path in paths if path not in drawn)
        raise ConfigError(
            f"{len(drawn)} mask(s) are drawn regions (`{drawn[0].name}`), "
            f"{len(paths) - len(drawn)} are pictures (`{other.name}`).",
            code="MASK_AMBIGUOUS",
            hint="Give masks of one kind; pick them with a --pairs table.",
        )
    if drawn:
        decoding, notes = choose_drawn(paths, coding)
        sizes = [None] * len(pairs)
    else:
        choice = choose_decoding(paths, coding)
        decoding, notes, sizes = choice.decoding, choice.notes, choice.sizes
    looked = [
        _looked_at(pair, size, scaled=coding.scaled, default_mpp=default_mpp)
        for pair, size in zip(pairs, sizes, strict=True)
    ]
    pairs = [pair for pair, _ in looked]
    return PairSet(
        pairs=tuple(pairs),
        decoding=decoding,
        content_id=_content_id(looked, decoding),
        without_mask=without_mask,
        without_image=without_image,
        notes=(*notes, *_left_out(without_mask, without_image)),
        table=_described(rows, pairs),
    )


def _require_heeded(coding: MaskCoding, *, is_drawn: bool) -> None:
    """Refuse what was said of masks of the other kind."""
    plain = MaskCoding()
    if not is_drawn and (coding.roi or coding.only):
        option = "--roi" if coding.roi else "--drawn-class"
        raise ConfigError(f"`{option}` is of drawn regions; the masks are pictures.")
    if is_drawn and (coding.kind, coding.codes, coding.ignore) != (plain.kind, None, ()):
        raise ConfigError(
            "`--mask-coding`, `--mask-codes` and `--mask-ignore` are of pictures; the masks are "
            "drawn regions, which name their classes.",
            hint="Join or leave out classes with --group.",
        )


def _rows(
    images: Path | None, masks: Path | None, table: Path | None
) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """Return the rows with a mask, sorted, and the names of what is left out."""
    if table is not None:
        rows = read_pair_table(table, [folder for folder in (images, masks) if folder])
        has_mask = rows[MASK] != ""
        left = tuple(sorted(rows.loc[~has_mask, IMAGE_ID]))
        rows = rows[has_mask].sort_values(IMAGE_ID, kind="stable").reset_index(drop=True)
        if rows.empty:
            raise SlideError(f"pairs table {table} names no mask.", code="PAIRS_MISSING")
        return rows, left, ()
    if images is None:
        raise ConfigError("neither a folder of images nor a --pairs table is given.")
    found = match_names(images, masks or images)
    rows = pd.DataFrame(
        {
            IMAGE_ID: list(found.pairs),
            SLIDE_ID: list(found.pairs),
            PATIENT_ID: "",
            MPP: "",
            IMAGE: [str(image) for image, _ in found.pairs.values()],
            MASK: [str(mask) for _, mask in found.pairs.values()],
        }
    )
    left, alone = found.without_mask, found.without_image
    return rows, tuple(text_of(p.name) for p in left), tuple(text_of(p.name) for p in alone)


def _with_patients(rows: pd.DataFrame, slide_patients: Mapping[str, str]) -> list[Pair]:
    known = rows[[SLIDE_ID, PATIENT_ID]]
    finder = PatientFinder([known], slide_patients)
    return [
        Pair(
            image_id=row[IMAGE_ID],
            image=Path(row[IMAGE]),
            mask=Path(row[MASK]),
            slide_id=row[SLIDE_ID],
            patient_id=canonical_patient(row[PATIENT_ID])
            if row[PATIENT_ID]
            else finder.of_slide(row[SLIDE_ID]),
            mpp=float(row[MPP].replace(",", ".")) if row[MPP] else None,
        )
        for row in rows.to_dict("records")
    ]


def _looked_at(
    pair: Pair, mask_px: tuple[int, int] | None, *, scaled: bool, default_mpp: float | None
) -> tuple[Pair, str]:
    """Open the image: check its size, learn its resolution, identify its content."""
    with open_slide(pair.image, mpp=pair.mpp, default_mpp=default_mpp) as slide:
        if mask_px is not None:
            require_fitting(pair, mask_px, slide.dimensions, slide.level_count, scaled=scaled)
        try:
            mpp = float(slide.mpp)
        except SlideError:
            # Whoever asks for a resolution is told; the image's own pixels need none.
            if pair.mpp is not None:
                raise
            return pair, slide.content_id()
        return replace(pair, mpp=mpp), slide.content_id()


def _content_id(looked: Sequence[tuple[Pair, str]], decoding: Decoding) -> str:
    files = [
        [pair.slide_id, pair.patient_id, pair.mpp, content, sha256_file(pair.mask)]
        for pair, content in looked
    ]
    return sha256_text(canonical_json({"pairs": sorted(files, key=str), "masks": asdict(decoding)}))


def _left_out(without_mask: Sequence[str], without_image: Sequence[str]) -> list[str]:
    notes = []
    for names, what in (
        (without_mask, "image(s) without a mask"),
        (without_image, "mask(s) without an image"),
    ):
        if names:
            more = ", ..." if len(names) > _SHOWN else ""
            shown = ", ".join(names[:_SHOWN])
            notes.append(f"{len(names)} {what} are left out: {shown}{more}.")
    return notes


def _described(rows: pd.DataFrame, pairs: Sequence[Pair]) -> pd.DataFrame:
    table = rows.drop(columns=[IMAGE, MASK]).copy()
    table[PATIENT_ID] = [pair.patient_id for pair in pairs]
    table[MPP] = ["" if pair.mpp is None else repr(pair.mpp) for pair in pairs]
    return table
