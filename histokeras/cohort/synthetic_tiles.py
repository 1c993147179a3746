"""An invented set of tiles of the eight tissue classes, with patients. No patient is real."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from histokeras.cohort.synthetic import FIRST_SEED
from histokeras.files import prepare_folder, write_bytes, write_csv
from histokeras.slides.synthetic import (
    CLASSES,
    render_tile,
    site_profile,
    slide_profile,
    tissue_tile,
)
from histokeras.types import LABEL, PATIENT_ID, TILE

TABLE = "tiles.csv"
_MPP = 0.5
_MIXED = 0.25
"""Share of the tiles of which another class takes up to half: real ones are no purer."""
_OF_TILES, _OF_PATIENTS = 5_000_000, 9_000_000
"""Where seeds of tiles and of patients begin, past those of a cohort's slides."""
_MOST_A_CLASS = 100_000


@dataclass(frozen=True, kw_only=True)
class TileSetSpec:
    """An invented set of tiles: the same spec gives the same tiles.

    Attributes:
        seed: Seed of everything random, 0 or more.
        n_per_class: Tiles of each class, 1 to 100,000.
        n_patients: Patients that the tiles of each class are dealt to in turn, at least 4.
        n_sites: Sites that stain and scan differently: those of the cohort of the same seed.
        size_px: Side of a tile in pixels of 0.5 micrometres, 16 to 1024.
    """

    seed: int = 0
    n_per_class: int = 40
    n_patients: int = 40
    n_sites: int = 4
    size_px: int = 224

    def __post_init__(self) -> None:
        limits = {"seed": (0, 2**32 - 1), "n_per_class": (1, _MOST_A_CLASS),
                  "n_patients": (4, _MOST_A_CLASS), "n_sites": (1, 1000),
                  "size_px": (16, 1024)}  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"`{name}` must be {low} to {high}. Received: {name}={getattr(self, name)}"
                )


def tile_set_table(spec: TileSetSpec) -> pd.DataFrame:
    """Return one row a tile, in the layout of HMU-GC-HE-30K: ``<CLS>/<CLS>_<n>.png``.

    Returns:
        ``tile label patient_id mpp``; tile ``n`` = 1, 2 ... of every class belongs to patient
        ``n`` mod ``n_patients``, so that patients have as many tiles of each class as can be.
    """
    digits = len(str(spec.n_patients))
    return pd.DataFrame(
        [
            {
                TILE: f"{kind}/{_file(kind, number)}",
                LABEL: kind,
                PATIENT_ID: f"tile-patient-{number % spec.n_patients + 1:0{digits}d}",
                "mpp": _MPP,
            }
            for kind in CLASSES
            for number in range(spec.n_per_class)
        ]
    )


def paint_tile(spec: TileSetSpec, kind: str, number: int) -> bytes:
    """Return a tile as a PNG.

    Args:
        spec: The set.
        kind: One of the eight classes.
        number: Of the tile within its class, from 0.

    Returns:
        RGB, ``size_px`` x ``size_px``; stained as the patient's slides would be.
    """
    first = FIRST_SEED * (spec.seed + 1)
    patient = number % spec.n_patients
    seed = first + _OF_TILES + CLASSES.index(kind) * _MOST_A_CLASS + number
    of_tile, of_patient = (np.random.default_rng(n) for n in (seed, first + _OF_PATIENTS + patient))
    tile = tissue_tile(
        kind,
        seed=seed,
        size_px=spec.size_px,
        mpp=_MPP,
        architecture=float(of_patient.random()),
        mixed=bool(of_tile.random() < _MIXED),
    )
    stains = slide_profile(
        site_profile(patient % spec.n_sites, spec.seed), first + _OF_PATIENTS + patient
    )
    buffer = io.BytesIO()
    Image.fromarray(render_tile(tile, stains)).save(buffer, "PNG")
    return buffer.getvalue()


def write_painted_class(folder: Path, spec: TileSetSpec, kind: str) -> None:
    """Write the tiles of a class; those that are there already were written whole, and stay.

    Raises:
        OutputError: If one cannot be written.
    """
    place = prepare_folder(folder / kind)
    for number in range(spec.n_per_class):
        path = place / _file(kind, number)
        if not path.exists():
            write_bytes(path, paint_tile(spec, kind, number))


def write_tile_table(folder: Path, spec: TileSetSpec) -> None:
    """Write ``tiles.csv``, for ``--tile-table``.

    Raises:
        OutputError: If it cannot be written.
    """
    write_csv(prepare_folder(folder) / TABLE, tile_set_table(spec))


def tile_set_mark(spec: TileSetSpec) -> dict[str, object]:
    """Return what ``cohort.json`` says of a painted set: that nobody is real, and its spec."""
    return {
        "invented": "No patient is real; tiles are painted by histokeras.",
        "seed": spec.seed,
        "n_per_class": spec.n_per_class,
        "n_patients": spec.n_patients,
        "n_sites": spec.n_sites,
        "size_px": spec.size_px,
    }


def _file(kind: str, number: int) -> str:
    return f"{kind}_{number + 1}.png"
