"""Write a label table with what was left out and a record of how it was made."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histokeras.cells import csv_text
from histokeras.cohort.hypoxia_labels import HypoxiaLabels
from histokeras.errors import ConfigError
from histokeras.files import prepare_folder, remove, sha256_text, write_text
from histokeras.runs.record import RunRecord


def beside(path: Path, ending: str) -> Path:
    """Return the file beside a label table: ``labels.csv`` -> ``labels.dropped.csv``."""
    return path.with_name(f"{path.stem}.{ending}")


def require_output(path: Path, inputs: Sequence[Path]) -> None:
    """Refuse a name for the labels that would replace an input, or that promises another format.

    Args:
        path: Where the labels are to go.
        inputs: The files that are read.

    Raises:
        ConfigError: If it is an input, a folder, or no .csv.
    """
    if any(path.exists() and path.samefile(one) for one in inputs):
        raise ConfigError(
            f"`--output` {path} is one of the tables that are read.",
            hint="Choose another name for the labels; `--overwrite` does not help here.",
        )
    if path.is_dir() or path.suffix.lower() != ".csv":
        example = path / "labels.csv" if path.is_dir() else path.with_suffix(".csv")
        raise ConfigError(
            f"`--output` is the name of a .csv file. Received: {path}",
            hint=f"For example {example}.",
        )


def write_labels(
    path: Path, labels: HypoxiaLabels, record: RunRecord, *, overwrite: bool = False
) -> bool:
    """Write ``labels.csv``, ``labels.dropped.csv`` and ``labels.run.json``.

    Args:
        path: Where the labels go; the other two lie beside them.
        labels: The labels.
        record: Command and options; its facts are completed.
        overwrite: Replace another file of that name.

    Returns:
        True if files were written, False if the same ones stood there.

    Raises:
        ConfigError: If another file stands there and ``overwrite`` is False.
        OutputError: If they cannot be written.
    """
    texts = {
        beside(path, "dropped.csv"): csv_text(labels.dropped),
        path: csv_text(labels.table),
    }
    same = all(_holds(place, text) for place, text in texts.items())
    if same and beside(path, "run.json").is_file():
        return False
    if path.exists() and not overwrite and not _holds(path, texts[path]):
        raise ConfigError(
            f"{path} exists and holds something else.",
            hint="Give `--overwrite` to replace it, or another name.",
        )
    prepare_folder(path.parent)
    # The labels go first and come last: where they stand, the files beside them are theirs.
    remove(path.parent, [path.name])
    record.facts |= {
        "rule": labels.rule,
        "ties": labels.fitted.rule.ties,
        "min_group": labels.fitted.rule.min_group,
        "input": dict(labels.facts),
        "thresholds": {
            name or "all": group._asdict() for name, group in labels.fitted.groups.items()
        },
        "labels_sha256": sha256_text(texts[path]),
        "counts": counts_json(labels.counts),
        "n_dropped": len(labels.dropped),
    }
    record.write(path.parent, status="done", name=beside(path, "run.json").name)
    for place, text in texts.items():
        write_text(place, text)
    return True


def counts_json(counts: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Return counts as plain numbers, None where there is none."""
    return {
        str(name): {
            str(key): None if np.isnan(value) else int(value) if value % 1 == 0 else float(value)
            for key, value in row.items()
        }
        for name, row in counts.iterrows()
    }


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode("utf-8")
