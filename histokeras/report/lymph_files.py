"""What ``lymph-nodes`` left in a folder, as its pages read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from histokeras.analysis.lymph_nodes import NODE_COLUMNS
from histokeras.analysis.lymph_patients import GROUP, PATIENT_COLUMNS
from histokeras.errors import FeatureError
from histokeras.files import safe_name
from histokeras.foreign.folders import require_no_links_out
from histokeras.report.page_files import PageKind, read_texts
from histokeras.report.text import at, clean
from histokeras.runs.record import read_record
from histokeras.types import PATIENT_ID, SLIDE_ID

DONE = ("done", "done with failures")
KIND = PageKind(
    what="lymph nodes",
    figures="run.json",
    is_whole=lambda record: isinstance(record.get("settings"), dict),
    again="Give `histokeras lymph-nodes` again with --overwrite.",
    files={
        "run.json": "what was done, with which rules, networks, versions and inputs",
        "patients.csv": "one row a patient: nodes, metastatic nodes, areas, T/MLN, pN, flags",
        "nodes.csv": "one row a lymph node: place, areas, share of tumour, largest deposit, class",
        "slides.csv": "one row a slide: outcome, resolution, nodes, share that was never read",
        "failures.csv": "slides that failed, and what to do",
        "predictions": "one table a slide: the probability of every tile that was read",
        "patients": "the page of each patient",
    },
)
_TEXTS = (SLIDE_ID, PATIENT_ID, "outcome", "mpp_source", "size_class", "pN", "flags", GROUP)
_SLIDE_COLUMNS = (SLIDE_ID, PATIENT_ID, "outcome", "n_nodes", "n_metastatic", "n_dropped")


@dataclass(frozen=True, eq=False)
class LymphFiles:
    """A finished folder of ``lymph-nodes``; texts are clean, unknown numbers NaN.

    Attributes:
        folder: The folder.
        record: Content of run.json.
        slides: Rows of slides.csv.
        nodes: Rows of nodes.csv.
        patients: Rows of patients.csv; none where no patient is known.
        failures: Rows of failures.csv, all text.
    """

    folder: Path
    record: Mapping[str, Any]
    slides: pd.DataFrame
    nodes: pd.DataFrame
    patients: pd.DataFrame
    failures: pd.DataFrame

    @property
    def settings(self) -> Mapping[str, Any]:
        """The rules and networks that all slides have in common."""
        found: Mapping[str, Any] = self.record["settings"]
        return found

    @property
    def name(self) -> str:
        """Name of the folder."""
        return str(clean(self.folder.resolve().name))

    def slides_of(self, patient_id: str) -> pd.DataFrame:
        """Return the slides of a patient."""
        return self.slides[self.slides[PATIENT_ID] == patient_id]

    def picture(self, slide_id: str) -> Path | None:
        """Return the picture of a slide; None where there is none."""
        path = self.folder / f"{safe_name(slide_id)}.jpg"
        return path if path.is_file() else None

    def nodes_of(self, patient_id: str) -> pd.DataFrame:
        """Return the nodes of a patient."""
        return self.nodes[self.nodes[PATIENT_ID] == patient_id]


def read_lymph(folder: Path) -> LymphFiles:
    """Read a folder of ``lymph-nodes``.

    Raises:
        FeatureError: If the command did not end there (RUN_UNFINISHED), or run.json is damaged.
        TableError: If a table of it cannot be read.
    """
    require_no_links_out(folder)
    record = clean(read_record(folder))
    if record.get("status") not in DONE:
        raise FeatureError(
            f"{folder} holds no finished {KIND.what} (status {record.get('status', 'unknown')!r}).",
            code="RUN_UNFINISHED",
            hint="Run the same command again to finish it.",
        )
    if not isinstance(at(record, "settings"), Mapping):
        raise FeatureError(
            f"{folder / 'run.json'} is damaged: it holds no rules of lymph nodes.",
            code="RECORD_DAMAGED",
            hint=KIND.again,
        )
    nodes = _typed(read_texts(folder / "nodes.csv", KIND, (SLIDE_ID, PATIENT_ID, *NODE_COLUMNS)))
    patients = read_texts(folder / "patients.csv", KIND, optional=True)
    if not patients.empty:
        patients = read_texts(folder / "patients.csv", KIND, PATIENT_COLUMNS)
    return LymphFiles(
        folder,
        record,
        _typed(read_texts(folder / "slides.csv", KIND, _SLIDE_COLUMNS)),
        nodes.assign(metastatic=nodes["metastatic"] == "True"),
        _typed(patients) if len(patients) else pd.DataFrame(columns=list(PATIENT_COLUMNS)),
        read_texts(folder / "failures.csv", KIND, optional=True),
    )


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return all columns but texts as numbers."""
    return pd.DataFrame({
        str(name): table[name]
        if name in _TEXTS or name == "metastatic"
        else pd.to_numeric(table[name], errors="coerce").astype(float)
        for name in table.columns
    })  # fmt: skip


def records(table: pd.DataFrame) -> Sequence[dict[str, Any]]:
    """Return the rows of a table, with whole counts as whole numbers."""
    return [
        {
            str(key): int(value)
            if isinstance(value, float) and value.is_integer() and str(key) in _COUNTED
            else value
            for key, value in row.items()
        }
        for row in table.to_dict("records")
    ]


_COUNTED = frozenset({
    "node_id", "n_slides", "n_nodes", "n_mln", "n_itc", "n_not_resolved", "n_deposits", "n_tiles",
    "n_metastatic", "n_dropped", "tiles_on_grid", "tiles_read", "tiles_read_again",
})  # fmt: skip
