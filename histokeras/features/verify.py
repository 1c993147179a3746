"""Re-check every feature file of a folder: checksum, shape, values, manifest."""

from dataclasses import dataclass
from pathlib import Path

from histokeras.errors import FeatureError
from histokeras.features.known import feature_path, manifest_path
from histokeras.features.store import FeatureSet, feature_files, read_features, require_finite
from histokeras.runs.record import read_outcomes
from histokeras.tables import read_own


@dataclass(frozen=True)
class Checked:
    """What was found of one file.

    Attributes:
        file: Its name.
        status: ``ok``, ``bad`` or ``unverified`` (a foreign file: it opens and is finite, but
            carries no checksum).
        n_tiles: Number of tiles; 0 if bad.
        reason: Code and message if bad.
    """

    file: str
    status: str
    n_tiles: int
    reason: str


def verify_folder(folder: Path) -> list[Checked]:
    """Check every feature file of a folder.

    Args:
        folder: What ``extract-features -o`` was given, or a folder of ``.h5`` files.

    Returns:
        One result a file, by name.

    Raises:
        FeatureError: If there are no feature files.
    """
    checked = [_check(folder, path) for path in feature_files(folder)]
    there = {item.file for item in checked}
    outcomes = read_outcomes(folder) if folder.is_dir() else {}
    done = [name for name, outcome in outcomes.items() if outcome in ("done", "skipped")]
    recorded = [feature_path(folder, name).name for name in done]
    lost = [name for name in recorded if name not in there]
    missing = [Checked(name, "bad", 0, "MISSING: run.json lists it as done") for name in lost]
    return sorted(checked + missing, key=lambda item: item.file)


def _check(folder: Path, path: Path) -> Checked:
    try:
        features = read_features(path)
        _require_whole(folder, features, path)
    except FeatureError as error:
        return Checked(path.name, "bad", 0, f"{error.code}: {error.message}")
    status = "ok" if features.provenance else "unverified"
    return Checked(path.name, status, len(features), "")


def _require_whole(folder: Path, features: FeatureSet, path: Path) -> None:
    require_finite(features)
    if not features.provenance:
        return
    if features.provenance["n_tiles"] != len(features):
        raise FeatureError("the number of tiles differs from the record.", code="VERIFY_FAILED")
    manifest = manifest_path(folder, features.slide_id)
    if path.parent != folder / "features":
        return
    if path != feature_path(folder, features.slide_id):
        raise FeatureError(
            f"it holds slide {features.slide_id!r}, whose file has another name.",
            code="FILE_MISNAMED",
        )
    if not manifest.is_file():
        raise FeatureError("its tile manifest is missing.", code="MANIFEST_MISSING")
    with manifest.open("rb") as file:
        # `histokeras tile` signs its manifests in a first line.
        signed = int(file.readline().startswith(b"# "))
    try:
        table = read_own(manifest, usecols=["kept"], skiprows=signed)
        kept = int(table["kept"].astype(bool).sum())
    except ValueError as error:
        raise FeatureError(
            f"its tile manifest cannot be read: {error}.", code="MANIFEST_DAMAGED"
        ) from error
    if kept != len(features):
        raise FeatureError(
            f"its manifest keeps {kept} tiles, the file holds {len(features)}.",
            code="MANIFEST_MISMATCH",
        )
