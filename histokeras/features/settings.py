"""Everything that decides what a feature vector is, and its fingerprint."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from histokeras.errors import ConfigError, FeatureError
from histokeras.files import canonical_json, sha256_text
from histokeras.models.catalog import require_backbone
from histokeras.tiles.grid import TileSpec
from histokeras.tiles.stain import require_stain_norm

COMPUTE_BATCH = 16
PRECISIONS = ("float32", "mixed_float16")
DTYPES = ("float32", "float16")
STAIN_NORM = "stain_norm"
_LABELS = frozenset({"weights"})
"""Not compared: the digest decides whether weights are the same, not where they came from."""


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """How features are made.

    Attributes:
        backbone: Name of the network.
        weights: ``imagenet``, ``file`` or ``random:SEED``.
        weights_sha256: Digest of the weights.
        tile: How slides are cut; of ready-made tiles only ``size_px`` counts.
        ready_made: Whether the tiles were images already.
        resize: Whether ready-made tiles of another size are resampled to ``tile.size_px``.
        precision: ``float32`` or ``mixed_float16``.
        compute_batch: Tiles a replica computes at once.
        dtype: How vectors are stored, ``float32`` or ``float16``.
        stain_norm: ``none``, ``macenko`` or ``reinhard``; slides by the stain of the slide,
            ready-made tiles each by its own.
    """

    backbone: str
    weights: str
    weights_sha256: str
    tile: TileSpec = field(default_factory=TileSpec)
    ready_made: bool = False
    resize: bool = False
    precision: str = "float32"
    compute_batch: int = COMPUTE_BATCH
    dtype: str = "float32"
    stain_norm: str = "none"

    def __post_init__(self) -> None:
        require_backbone(self.backbone)
        require_stain_norm(self.stain_norm)
        for name, allowed in (("precision", PRECISIONS), ("dtype", DTYPES)):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"`{name}` must be one of {', '.join(allowed)}. "
                    f"Received: {name}={getattr(self, name)!r}"
                )
        if not 1 <= self.compute_batch <= 1024:
            raise ConfigError(
                f"`compute_batch` must be 1 to 1024. Received: compute_batch={self.compute_batch}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, flat, under the names users know."""
        flat = {name: value for name, value in asdict(self).items() if name != "tile"}
        tile = asdict(self.tile)
        if self.ready_made:
            tile = {"size_px": self.tile.size_px}
        flat.update({f"tile_{name}": value for name, value in tile.items()})
        if self.stain_norm == "none":
            # Features older than this setting have none either, and are the same.
            del flat[STAIN_NORM]
        flat["preprocessing"] = require_backbone(self.backbone).preprocessing
        return flat


def stain_norm_of(settings: Mapping[str, Any]) -> str:
    """Return how stains are normalised according to plain settings, new or old."""
    return str(settings.get(STAIN_NORM, "none"))


def fingerprint(settings: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 over the settings and what identifies the slide's content."""
    deciding = {key: value for key, value in settings.items() if key not in _LABELS}
    return sha256_text(canonical_json({"settings": deciding, "slide": dict(identity)}))


def require_same_settings(
    found: Mapping[str, Any], wanted: Mapping[str, Any], *, where: str, hint: str
) -> None:
    """Refuse features that were made in another way.

    Args:
        found: Settings of the features that are there.
        wanted: Settings that are needed.
        where: What to call the features in the message.
        hint: What to do.

    Raises:
        FeatureError: Code CONFIG_MISMATCH; the message names each key that differs.
    """
    names = {*found, *wanted} - _LABELS
    keys = sorted(name for name in names if found.get(name) != wanted.get(name))
    if keys:
        # Left out, this one is `none`, as users know it.
        found, wanted = ({STAIN_NORM: "none", **settings} for settings in (found, wanted))
        differences = ", ".join(
            f"{key} {found.get(key)} (wanted {wanted.get(key)})" for key in keys
        )
        raise FeatureError(
            f"{where} made with other settings: {differences}.", code="CONFIG_MISMATCH", hint=hint
        )
