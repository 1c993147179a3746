"""Ids as people write them: file names, folders, TCGA barcodes of any length."""

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

FILE_SUFFIXES = frozenset(
    {
        *(".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide"),
        *(".czi", ".dcm", ".png", ".jpg", ".jpeg", ".bmp", ".h5", ".hdf5", ".pt", ".npy", ".npz"),
        *(".csv", ".geojson"),
    }
)
"""Endings that are cut off a slide's name; any other dot belongs to the name."""

_PATIENT = r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}"
_TCGA_SLIDE = re.compile(
    rf"^({_PATIENT})-(\d{{2}})([A-Z])-(\d{{2}})-(DX|TS|BS|MS)([A-Z0-9]+)"
    r"(?:\.([0-9A-Fa-f-]{36}))?(?:\.svs)?$"
)
_TCGA_DOTTED = re.compile(r"^TCGA\.[A-Z0-9]{2}\.[A-Z0-9]{4}(?=$|\.)")
# A sample needs two digits: the suffix of TCGA-BH-A1ES-1 (R's make.unique) is no barcode.
_TCGA_ANY = re.compile(rf"^({_PATIENT})(?:$|-(\d{{2}})(?:$|[A-Z](?:$|[-.])|[-.]))")
_MADE_UNIQUE = re.compile(rf"^({_PATIENT})-\d$")
_PATIENT_LENGTH = 12
_SAMPLE_LENGTH = 15


class TcgaSlide(NamedTuple):
    """The fields of a TCGA slide name such as ``TCGA-A2-A0T2-01Z-00-DX1``.

    Attributes:
        patient_id: The first 12 characters.
        sample_type: Two digits; 01 primary, 02 recurrent, 06 metastatic, 10 and above normal.
        vial: One letter; Z is the formalin-fixed diagnostic block.
        portion: Two digits.
        kind: DX (diagnostic), or TS, BS, MS (frozen: top, bottom, middle).
        number: Number or letter of the slide.
        uuid: The file's UUID, or "".
    """

    patient_id: str
    sample_type: str
    vial: str
    portion: str
    kind: str
    number: str
    uuid: str


def parse_tcga_slide(name: str) -> TcgaSlide | None:
    """Take a TCGA slide's file name apart, with or without ``.svs``; None if it is none."""
    match = _TCGA_SLIDE.match(name)
    return TcgaSlide(*(part or "" for part in match.groups())) if match else None


def patient_from_slide(slide_id: str) -> str | None:
    """Return the patient that a TCGA barcode names (12 characters); None for any other name."""
    match = _TCGA_ANY.match(slide_id)
    return match.group(1) if match else None


def sample_type(name: str) -> str | None:
    """Return the two digits of the sample type that a TCGA barcode tells; None if it tells none."""
    match = _TCGA_ANY.match(name)
    return match.group(2) if match else None


def base_patient(text: str) -> str:
    """Return the patient of an id from a table, of a further sample too.

    R's make.unique turned the second sample of ``TCGA-BH-A1ES`` into ``TCGA-BH-A1ES-1``. Such a row
    is never joined to a slide, but it is of the same patient.

    Args:
        text: An id from a table.

    Returns:
        As ``canonical_patient``, without the suffix.
    """
    patient = canonical_patient(text)
    match = _MADE_UNIQUE.match(patient)
    return match.group(1) if match else patient


def canonical_patient(text: str) -> str:
    """Return the one form of a patient id, so that equal patients compare equal.

    TCGA ids written with dots get dashes, and longer barcodes are cut to the patient. An id with
    R's make.unique suffix (``TCGA-BH-A1ES-1``) stays as it is, and so does every other id.

    Args:
        text: An id from a table.

    Returns:
        The id without surrounding blanks, in Unicode's composed form.
    """
    plain = canonical_key(text)
    return patient_from_slide(plain) or plain


def canonical_key(text: str) -> str:
    """Return an id without surrounding blanks, in composed Unicode, TCGA dots as dashes."""
    plain = unicodedata.normalize("NFC", text.strip())
    dotted = _TCGA_DOTTED.match(plain)
    if dotted:
        plain = plain[: dotted.end()].replace(".", "-") + plain[dotted.end() :].replace(".", "-")
    return plain


def slide_stem(text: str) -> str:
    """Return the slide's name from a path or file name.

    Folders and known endings go (``feats/a.svs.h5`` -> ``a``); a dot inside the name stays
    (``TCGA-A2-A0T2-01Z-00-DX1.<UUID>``).

    Args:
        text: A path, a file name or a slide_id.

    Returns:
        The bare name.
    """
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", text.strip()).rstrip("/\\"))[-1]
    while True:
        stem, dot, ending = name.rpartition(".")
        if not stem or dot + ending.lower() not in FILE_SUFFIXES:
            return name
        name = stem


def tile_key(text: str) -> str:
    """Return a tile's path with forward slashes and without a leading ``./``."""
    plain = unicodedata.normalize("NFC", text.strip()).replace("\\", "/")
    return plain.removeprefix("./")


def barcode_prefixes(name: str) -> list[str]:
    """Return the shorter barcodes that a TCGA name begins with, longest first, without itself.

    Args:
        name: Any name.

    Returns:
        Barcodes cut at each field, at the sample (15 characters) and at the patient (12); an empty
        list for a name that is no TCGA barcode.
    """
    if patient_from_slide(name) is None:
        return []
    cuts = {i for i, letter in enumerate(name) if letter in "-." and i >= _PATIENT_LENGTH}
    if len(name) > _SAMPLE_LENGTH:
        cuts.add(_SAMPLE_LENGTH)
    # Dashes inside the UUID are no field boundary.
    dot = name.find(".")
    return [name[:cut] for cut in sorted(cuts, reverse=True) if dot < 0 or cut <= dot]


class Matcher:
    """Find the key of a table that an id means: the same text, else a TCGA barcode of other length.

    Args:
        keys: The table's keys, in canonical form.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = frozenset(keys)
        self._longer: dict[str, list[str]] = {}
        for key in sorted(self._keys):
            for prefix in barcode_prefixes(key):
                self._longer.setdefault(prefix, []).append(key)

    def find(self, wanted: str) -> tuple[str, ...]:
        """Return the keys that ``wanted`` may mean: none, one, or several (ambiguous)."""
        if wanted in self._keys:
            return (wanted,)
        shorter = tuple(p for p in barcode_prefixes(wanted) if p in self._keys)
        return shorter or tuple(self._longer.get(wanted, ()))
