"""An invented cohort of lymph-node slides: which nodes, deposits and difficulties each one has."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from histokeras.cohort.synthetic import FIRST_SEED
from histokeras.files import prepare_folder, write_json
from histokeras.slides.synthetic import (
    NodeSpec,
    SlideSpec,
    nodes_geojson,
    slide_truth,
    write_truth,
)
from histokeras.slides.synthetic.node_places import least_size, without_crowding
from histokeras.types import PATIENT_ID

HAZARD_RATIO = 1.3
"""Of each tenth of the true mean T/MLN, planted in time and event; 0 without metastasis."""
DIAMETERS_MM, QUICK_DIAMETERS_MM = (1.5, 7.0), (1.0, 2.5)
DEPOSITS_MM = (0.1, 5.0)
"""Log-uniform, as far as they fit into the node."""
NO_METASTASIS = 0.25
"""Share of the patients without tumour in any node."""
DIFFICULTIES = {"touching": 0.5, "hilum": 0.5, "annular": 0.5, "outside": 0.5, "blur": 0.4}
"""Shares of the patients that are dealt nodes that touch, fat inside a node, necrosis inside a
deposit (where one is large enough), tumour outside nodes, and spots out of focus."""
_DRIVER_SEED = 8_000_000
_SEED_SHIFT = 5_000_000
_LETTERS = "abcdefgh"
_MOST_SHARE, _LEAST_ANNULAR_MM = 0.715, 0.4
_FAT_MM = 0.25
_MEDIAN_MONTHS, _FOLLOW_UP_MONTHS = 60.0, (12.0, 96.0)


@dataclass(frozen=True, kw_only=True)
class NodeCohortSpec:
    """An invented cohort of lymph-node slides: the same spec gives the same slides and tables.

    Attributes:
        seed: Seed of everything random, 0 or more.
        n_patients: Number of patients, at least 4.
        n_sites: Sites that stain and scan differently.
        diameters_mm: Least and greatest diameter of a node.
        most_slides: Slides of a patient, 1 to this.
        most_nodes: Nodes on a slide, 2 to this.
    """

    seed: int = 0
    n_patients: int = 12
    n_sites: int = 4
    diameters_mm: tuple[float, float] = DIAMETERS_MM
    most_slides: int = 2
    most_nodes: int = 4

    def __post_init__(self) -> None:
        least = {"seed": 0, "n_patients": 4, "n_sites": 1, "most_slides": 1, "most_nodes": 2}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                raise ValueError(
                    f"`{name}` must be at least {limit}. Received: {name}={getattr(self, name)}"
                )
        low, high = self.diameters_mm
        if not DEPOSITS_MM[0] / _MOST_SHARE < low <= high:
            raise ValueError(
                "`diameters_mm` are the least and the greatest, above "
                f"{DEPOSITS_MM[0] / _MOST_SHARE:.2f}. Received: diameters_mm={self.diameters_mm}"
            )


def sample_node_patients(spec: NodeCohortSpec) -> pd.DataFrame:
    """Invent patients, but for what depends on their slides.

    Difficulties are dealt out so that their shares hold as nearly as can be, and sites in turn.

    Args:
        spec: The cohort.

    Returns:
        One row a patient: ``patient_id site age sex T metastasis``, one bool column for each of
        :data:`DIFFICULTIES`, and ``luck`` and ``follow_up``, from which the time comes.
    """
    rng = np.random.default_rng((_DRIVER_SEED, spec.seed))
    n = spec.n_patients
    site = rng.permutation(n) % spec.n_sites
    without = _dealt(rng, n, NO_METASTASIS)
    columns = {
        PATIENT_ID: [f"patient-{i + 1:0{len(str(n))}d}" for i in range(n)],
        "site": [f"site {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[i % 26]}" for i in site],
        "site_number": site,
        "age": rng.normal(65, 10, n).clip(25, 90).round().astype(int),
        "sex": np.asarray(["female", "male"], object)[rng.integers(0, 2, n)],
        "T": [f"T{i + 1}" for i in rng.choice(4, n, p=(0.15, 0.30, 0.35, 0.20))],
        "metastasis": ~without,
        "luck": rng.exponential(1.0, n),
        "follow_up": rng.uniform(*_FOLLOW_UP_MONTHS, n),
    }
    for name, share in DIFFICULTIES.items():
        # Necrosis needs a deposit: its share is of those who have one.
        columns[name] = (
            _dealt(rng, n, share, ~without) if name == "annular" else _dealt(rng, n, share)
        )
    return pd.DataFrame(columns)


def _dealt(
    rng: np.random.Generator, n: int, share: float, among: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """Return which of n patients are chosen: the share of those among whom, at random."""
    places = np.flatnonzero(np.ones(n, np.bool_) if among is None else among)
    chosen = np.zeros(n, np.bool_)
    chosen[rng.permutation(places)[: round(share * len(places))]] = True
    return chosen


def node_slides(spec: NodeCohortSpec) -> dict[str, SlideSpec]:
    """Return slide_id -> what the slide shall be, for every slide of the cohort.

    Args:
        spec: The cohort.

    Returns:
        One spec a slide, patients in order; each slide is as small as its nodes allow.
    """
    found = {}
    for number, row in enumerate(sample_node_patients(spec).to_dict("records")):
        rng = np.random.default_rng((_DRIVER_SEED, spec.seed, number))
        n_slides = int(rng.integers(1, spec.most_slides + 1))
        positive = rng.uniform(0.25, 1.0) if row["metastasis"] else 0.0
        for index in range(n_slides):
            traits = {name for name in DIFFICULTIES if row[name] and index == 0}
            slide = SlideSpec(
                seed=FIRST_SEED * (spec.seed + 1) + _SEED_SHIFT + number * 10 + index,
                site=int(row["site_number"]),
                cohort_seed=spec.seed,
                nodes=_nodes(rng, spec, positive, certain=index == 0),
                fat_mm=_FAT_MM,
                blurs=int("blur" in traits),
            )
            found[f"{row[PATIENT_ID]}_{_LETTERS[index]}"] = _finished(rng, spec, slide, traits)
    return found


def _nodes(
    rng: np.random.Generator, spec: NodeCohortSpec, positive: float, *, certain: bool
) -> tuple[NodeSpec, ...]:
    """Draw the nodes of a slide; ``positive`` is the share with tumour, at least one if certain."""
    low, high = spec.diameters_mm
    count = int(rng.integers(2, spec.most_nodes + 1))
    # Most nodes are small.
    diameters = low * (high / low) ** (rng.random(count) ** 3)
    with_tumour = rng.random(count) < positive
    chosen = int(rng.integers(count))
    largest = _deposit(rng, high)
    if certain and positive > 0:
        # The node is as large as its deposit needs, so that large ones occur.
        with_tumour[chosen] = True
        diameters[chosen] = max(diameters[chosen], largest / _MOST_SHARE)
    found = []
    for index, size in enumerate(diameters.tolist()):
        deposits = _deposits(rng, size) if with_tumour[index] else ()
        if certain and deposits and index == chosen:
            deposits = tuple(sorted((largest, *deposits[1:]), reverse=True))
        lumpy = round(float(rng.uniform(0.03, 0.06)), 3)
        found.append(NodeSpec(math.ceil(100 * size) / 100, deposits, lumpy=lumpy))
    return tuple(found)


def _deposit(rng: np.random.Generator, diameter_mm: float) -> float:
    """Draw the diameter of a deposit that a node can hold."""
    low, high = DEPOSITS_MM[0], min(DEPOSITS_MM[1], _MOST_SHARE * diameter_mm)
    return round(float(low * (high / low) ** rng.random()), 3)


def _deposits(rng: np.random.Generator, diameter_mm: float) -> tuple[float, ...]:
    """Draw one to three deposits of a node, the largest first."""
    count = int(rng.choice(3, p=(0.5, 0.3, 0.2))) + 1
    return tuple(sorted((_deposit(rng, diameter_mm) for _ in range(count)), reverse=True))


def _finished(
    rng: np.random.Generator, spec: NodeCohortSpec, slide: SlideSpec, traits: set[str]
) -> SlideSpec:
    """Put the difficulties on a slide and give it its size."""
    nodes = list(slide.nodes)
    burden = [max(node.deposits_mm, default=0.0) for node in nodes]
    if "touching" in traits:
        second = int(rng.integers(1, len(nodes)))
        nodes[second] = replace(nodes[second], touching=True)
    if "hilum" in traits:
        least = int(np.argmin(burden))
        size = rng.uniform(0.25, 0.4) * nodes[least].diameter_mm
        nodes[least] = replace(nodes[least], hilum_mm=round(float(size), 3))
    largest = int(np.argmax(burden))
    if "annular" in traits and burden[largest] >= _LEAST_ANNULAR_MM:
        # The first deposit is the largest one.
        hole = round(float(rng.uniform(0.4, 0.6)) * burden[largest], 3)
        nodes[largest] = replace(nodes[largest], deposit_holes_mm=(hole,))
    if "outside" in traits:
        sizes = rng.uniform(0.25, 0.8, int(rng.integers(1, 3))) * spec.diameters_mm[0]
        slide = replace(slide, outside_mm=tuple(sizes.round(3).tolist()))
    slide = without_crowding(replace(slide, nodes=tuple(nodes)))
    return replace(slide, size_px=least_size(slide))


def difficulties_of(slides: dict[str, SlideSpec]) -> dict[str, int]:
    """Return how many slides have each difficulty, as it came out."""
    return {
        "slides": len(slides),
        "touching": sum(any(node.touching for node in s.nodes) for s in slides.values()),
        "hilum": sum(any(node.hilum_mm for node in s.nodes) for s in slides.values()),
        "annular": sum(any(any(node.holes_mm) for node in s.nodes) for s in slides.values()),
        "outside": sum(bool(s.outside_mm) for s in slides.values()),
        "blur": sum(s.blurs > 0 for s in slides.values()),
        "without_tumour_in_nodes": sum(
            not any(node.deposits_mm for node in s.nodes) for s in slides.values()
        ),
    }


def node_mark_of(spec: NodeCohortSpec) -> dict[str, object]:
    """Return what ``cohort.json`` says: that these patients are invented, and from which spec."""
    slides = node_slides(spec)
    patients = sample_node_patients(spec)
    return {
        "invented": "No patient is real; slides are painted by histokeras.",
        "kind": "lymph nodes",
        "seed": spec.seed,
        "n_patients": spec.n_patients,
        "n_sites": spec.n_sites,
        "diameters_mm": list(spec.diameters_mm),
        "deposits_mm": list(DEPOSITS_MM),
        "most_slides": spec.most_slides,
        "most_nodes": spec.most_nodes,
        "hazard_ratio_of_each_tenth_of_T_MLN": HAZARD_RATIO,
        "shares_of_patients": {
            "no_metastasis": float((~patients["metastasis"]).mean()),
            **{name: float(patients[name].mean()) for name in DIFFICULTIES},
        },
        "slides_with": difficulties_of(slides),
        "sites": patients["site"].value_counts().sort_index().to_dict(),
    }


def write_node_truth(folder: Path, slide_id: str, spec: SlideSpec) -> None:
    """Write what is true of a slide to ``truth/<slide_id>/`` and ``annotations/``.

    The outlines are ``annotations/<slide_id>.geojson``. What is there is left as it is.

    Args:
        folder: The cohort's folder.
        slide_id: The slide.
        spec: What it shall be.

    Raises:
        OutputError: If it cannot be written.
    """
    place = folder / "truth" / slide_id
    drawn = prepare_folder(folder / "annotations") / f"{slide_id}.geojson"
    if (place / "truth.json").is_file() and drawn.is_file():
        return
    truth = slide_truth(spec)
    write_json(drawn, nodes_geojson(truth))
    write_truth(prepare_folder(place), truth)


def time_and_event(patients: pd.DataFrame, t_mln: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the time in months and whether the patient died.

    Args:
        patients: From ``sample_node_patients``.
        t_mln: True mean T/MLN of each, 0..1, in the same order; 0 without metastasis.

    Returns:
        Time, exponential with the hazard ratio :data:`HAZARD_RATIO`, and event 0 or 1.
    """
    hazard = np.log(2) / _MEDIAN_MONTHS * HAZARD_RATIO ** (10 * (t_mln.to_numpy() - 0.1))
    death = patients["luck"] / hazard
    time = np.minimum(death, patients["follow_up"]).round(1).clip(lower=0.1)
    return time, (death <= patients["follow_up"]).astype(int)
