"""An invented cohort with known truth: patients, slides, labels, survival. No patient is real."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.files import prepare_folder, write_csv, write_json
from histokeras.slides.synthetic import (
    CLASSES,
    SlideSpec,
    slide_truth,
    write_he_slide,
    write_truth,
)
from histokeras.slides.synthetic.tiles import GLASS
from histokeras.types import LABEL, PATIENT_ID, SLIDE_ID

MARK = "cohort.json"
LABELS = ("gland-forming", "poorly cohesive")
"""Growth patterns of the tumour: what the label means."""
HAZARD_RATIO = 2.5
"""Of poorly cohesive against gland-forming tumours: planted in time and event."""
STAGE_RATIO = 1.4
"""Of each step of T: planted too."""
_SHARES = {"ADI": 0.06, "DEB": 0.04, "LYM": 0.08, "MUC": 0.04, "MUS": 0.10, "NOR": 0.08,
           "STR": 0.20, "TUM": 0.40}  # fmt: skip
_DEBRIS, _MOST_DEBRIS = "DEB", 0.9
FIRST_SEED = 10_000_000
"""Of slides; the tiles that ``mini`` was trained on have smaller ones."""
_MEDIAN_MONTHS = 60.0
_FOLLOW_UP_MONTHS = (12.0, 96.0)
_DRIVER_SEED = 7_000_000
_TUMOUR_TYPES = ("stomach", "colon")


@dataclass(frozen=True, kw_only=True)
class CohortSpec:
    """An invented cohort: the same spec gives the same tables and slides.

    Attributes:
        seed: Seed of everything random, 0 or more.
        n_patients: Number of patients, at least 4.
        n_sites: Sites that stain and scan differently.
        size_px: (width, height) of each slide at level 0, 0.5 micrometres per pixel.
        most_slides: Slides of a patient, 1 to this.
        debris: Mean share of necrotic debris in the tissue, above 0 and at most 0.9; .04 if None.
            The other tissues share the rest as before.
    """

    seed: int = 0
    n_patients: int = 40
    n_sites: int = 4
    size_px: tuple[int, int] = (1344, 1344)
    most_slides: int = 2
    debris: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("n_patients", 4), ("n_sites", 1), ("most_slides", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"`{name}` must be at least {least}. Received: {name}={getattr(self, name)}"
                )
        if self.debris is not None and not 0 < self.debris <= _MOST_DEBRIS:
            raise ValueError(
                f"`debris` must be above 0 and at most {_MOST_DEBRIS}. "
                f"Received: debris={self.debris}"
            )

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Mean share of each class of ``CLASSES`` in the tissue, float64, of sum 1."""
        means = np.array([_SHARES[name] for name in CLASSES])
        if self.debris is None:
            return means
        is_debris = np.array([name == _DEBRIS for name in CLASSES])
        rest = means * ~is_debris
        return np.where(is_debris, self.debris, rest * (1 - self.debris) / rest.sum())


def sample_cohort(spec: CohortSpec | None = None) -> pd.DataFrame:
    """Invent patients.

    The label acts on how the tumour grows, and on survival; never on colour. Sites, tumour types,
    age and sex are independent of it: sites and labels are dealt out in turn, so that each site
    has as many of each label as can be.

    Args:
        spec: The cohort; the defaults if None.

    Returns:
        One row a patient: ``patient_id label site tumour_type age sex T N hypoxia_score time event
        n_slides``; the score is an odd whole number like Buffa's, higher in poorly cohesive tumours
        and, whatever the label, in one tumour type;
        ``time`` in months, ``event`` 1 for death and 0 for censored. Time is exponential with the
        hazard ratios :data:`HAZARD_RATIO` (label) and :data:`STAGE_RATIO` (each step of T).
    """
    spec = spec or CohortSpec()
    rng = np.random.default_rng((_DRIVER_SEED, spec.seed))
    n = spec.n_patients
    number = np.arange(n)
    deal = rng.permutation(n)
    label, site = deal % 2, (deal // 2) % spec.n_sites
    stage_t = rng.choice(4, n, p=(0.15, 0.30, 0.35, 0.20))
    stage_n = rng.choice(4, n, p=(0.40, 0.25, 0.20, 0.15))
    hazard = (
        np.log(2) / _MEDIAN_MONTHS * HAZARD_RATIO ** (label - 0.5) * STAGE_RATIO ** (stage_t - 1.5)
    )
    death = rng.exponential(1 / hazard)
    follow_up = rng.uniform(*_FOLLOW_UP_MONTHS, n)
    kind = rng.integers(0, 2, n)
    return pd.DataFrame(
        {
            PATIENT_ID: [f"patient-{i + 1:0{len(str(n))}d}" for i in number],
            LABEL: np.asarray(LABELS, object)[label],
            "site": [f"site {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[i % 26]}" for i in site],
            "tumour_type": np.asarray(_TUMOUR_TYPES, object)[kind],
            "age": rng.normal(65, 10, n).clip(25, 90).round().astype(int),
            "sex": np.asarray(["female", "male"], object)[rng.integers(0, 2, n)],
            "T": [f"T{i + 1}" for i in stage_t],
            "N": [f"N{i}" for i in stage_n],
            "hypoxia_score": _hypoxia_score(spec.seed, label, kind),
            "time": np.minimum(death, follow_up).round(1).clip(0.1),
            "event": (death <= follow_up).astype(int),
            "n_slides": rng.integers(1, spec.most_slides + 1, n),
        }
    )


def _hypoxia_score(
    seed: int, label: npt.NDArray[np.int64], kind: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    # Drawn apart, so that the other columns are as they were without it.
    rng = np.random.default_rng((_DRIVER_SEED + 1, seed))
    steps = rng.normal(9 * label - 4.5 + 6 * kind, 3.0).round().astype(np.int64)
    return np.clip(2 * steps - 1, -51, 51)


def cohort_slides(spec: CohortSpec | None = None) -> dict[str, SlideSpec]:
    """Return slide_id -> what the slide shall be, for every slide of the cohort.

    Args:
        spec: The cohort; the defaults if None.

    Returns:
        One spec a slide, patients in order. The shares of tissue vary from patient to patient
        about the same means for both labels.
    """
    spec = spec or CohortSpec()
    patients = sample_cohort(spec)
    sites = sorted(set(patients["site"]))
    found = {}
    for number, row in enumerate(patients.to_dict("records")):
        rng = np.random.default_rng((_DRIVER_SEED, spec.seed, number))
        shares = rng.dirichlet(25 * spec.shares)
        for slide in range(int(row["n_slides"])):
            slide_id = f"{row[PATIENT_ID]}_{'abcdefgh'[slide % 8]}"
            found[slide_id] = SlideSpec(
                seed=FIRST_SEED * (spec.seed + 1) + number * 10 + slide,
                size_px=spec.size_px,
                site=sites.index(row["site"]),
                cohort_seed=spec.seed,
                architecture=float(LABELS.index(row[LABEL])),
                composition=tuple(shares.tolist()),
            )
    return found


def write_tables(folder: Path, spec: CohortSpec | None = None) -> None:
    """Write the tables of a cohort.

    ``labels.csv`` has one row a patient, ``slides.csv`` says whose a slide is (slide_id,
    patient_id), ``pairs.csv`` where its class mask lies (image, mask, slide_id, patient_id), and
    ``codes.csv`` what the numbers there mean (code, label).

    Args:
        folder: Where; made if need be.
        spec: The cohort; the defaults if None.

    Raises:
        OutputError: If they cannot be written.
    """
    spec = spec or CohortSpec()
    prepare_folder(folder)
    write_csv(folder / "labels.csv", sample_cohort(spec).drop(columns="n_slides"))
    ids = list(cohort_slides(spec))
    patients = [name.rpartition("_")[0] for name in ids]
    whose = pd.DataFrame({SLIDE_ID: ids, PATIENT_ID: patients})
    write_csv(folder / "slides.csv", whose)
    pairs = {
        "image": [f"slides/{name}.tiff" for name in ids],
        "mask": [f"truth/{name}/mask.png" for name in ids],
    }
    write_csv(folder / "pairs.csv", pd.DataFrame({**pairs, **whose}))
    codes = {"code": [*range(len(CLASSES)), GLASS], "label": [*CLASSES, "glass"]}
    write_csv(folder / "codes.csv", pd.DataFrame(codes))


def is_written(folder: Path, slide_id: str) -> bool:
    """Tell whether a slide and what is true of it stand in the cohort's folder already."""
    return (folder / "slides" / f"{slide_id}.tiff").is_file() and (
        folder / "truth" / slide_id / "truth.json"
    ).is_file()


def write_slide_of(folder: Path, slide_id: str, spec: SlideSpec, *, truth: bool = True) -> Path:
    """Write one slide to ``slides/``, and what is true of it to ``truth/<slide_id>/``.

    A slide that is there already is left as it is: it was written whole.

    Args:
        folder: The cohort's folder.
        slide_id: Its name.
        spec: What it shall be.
        truth: Whether masks, outlines and areas are written too.

    Returns:
        The slide.

    Raises:
        OutputError: If it cannot be written.
    """
    path = prepare_folder(folder / "slides") / f"{slide_id}.tiff"
    if not path.exists():
        write_he_slide(path, spec)
    place = folder / "truth" / slide_id
    if truth and not (place / "truth.json").is_file():
        prepare_folder(place)
        write_truth(place, slide_truth(spec))
    return path


def mark_of(spec: CohortSpec) -> dict[str, object]:
    """Return what ``cohort.json`` says: that these patients are invented, and from which spec."""
    return {
        "invented": "No patient is real; slides are painted by histokeras.",
        "seed": spec.seed,
        "n_patients": spec.n_patients,
        "n_sites": spec.n_sites,
        "size_px": list(spec.size_px),
        "most_slides": spec.most_slides,
        "hazard_ratio_of_label": HAZARD_RATIO,
        "hazard_ratio_of_each_step_of_T": STAGE_RATIO,
        # Cohorts of before had no such key, and are the same still.
        **({} if spec.debris is None else {"debris": spec.debris}),
    }


def write_mark(folder: Path, mark: Mapping[str, object]) -> None:
    """Write ``cohort.json``: that nobody there is real, and what it was made from."""
    write_json(prepare_folder(folder) / MARK, mark)
