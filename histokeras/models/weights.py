"""Find, download and identify the weights of a backbone. Never falls back to random ones."""

import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import safetensors

from histokeras.errors import ConfigError, FeatureError, MissingError
from histokeras.files import prepare_folder, sha256_file, temporary_path
from histokeras.foreign.kinds import refuse_foreign_weights
from histokeras.foreign.text import parse_json
from histokeras.models.catalog import MINI, MINI_WEIGHTS, Application, Backbone
from histokeras.models.h5_weights import require_plain_weights

IMAGENET, NONE, BUNDLED, FINETUNED = "imagenet", "none", "bundled", "finetuned"
TUNED_FILE = Path("backbone", "weights.safetensors")
"""Where a run of ``finetune`` keeps the weights of its backbone."""
TUNED_FORMAT = "histokeras-backbone"
_RANDOM = "random:"
_NAMED = re.compile(rf"{IMAGENET}|{NONE}|{BUNDLED}|{_RANDOM}[0-9]{{1,10}}")
_TIMEOUT_S = 30
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class WeightsSource:
    """Where weights come from, settled before any work starts.

    Attributes:
        kind: ``imagenet``, ``file``, ``finetuned``, ``random``, ``bundled`` or ``none``.
        path: The weights file; None for random weights and for none.
        seed: The seed of random weights; None otherwise.
        sha256: SHA-256 of the file; for random weights a text that names the seed; for none, the
            version of what is computed.
    """

    kind: str
    path: Path | None
    seed: int | None
    sha256: str

    @property
    def label(self) -> str:
        """What outputs say of them: the kind, with the seed of random ones; never a path."""
        return f"{_RANDOM}{self.seed}" if self.kind == "random" else self.kind


def cache_folder() -> Path:
    """Return the folder in which Keras keeps downloaded weights (``$KERAS_HOME/models``)."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def find_weights(
    backbone: Backbone,
    weights: str | None = None,
    *,
    download: bool = True,
    trust: str | None = None,
) -> WeightsSource:
    """Settle which weights are meant, and that they are here; download ImageNet's if need be.

    Args:
        backbone: The network.
        weights: ``imagenet``, ``random:SEED``, the path of a ``.h5`` / ``.weights.h5`` file, or
            that of a run of ``finetune`` (or of the file in it); the backbone's default if None.
            ``none`` for a backbone that has no weights, and
            ``bundled`` for the one whose weights come with the package.
        download: Whether a download may be tried.
        trust: SHA-256 of a whole model (``.keras``, ``.h5``) whose weights may be taken.

    Returns:
        The source, with the file's digest.

    Raises:
        ConfigError: If ``weights`` is none of these, or not one of this backbone.
        MissingError: If the file is not there and cannot be downloaded (exit code 5).
        FeatureError: If the file could do more than hold weights (H5_UNSAFE, ARCHIVE_UNSAFE,
            MODEL_UNTRUSTED, NPZ_PICKLE).
    """
    weights = backbone.default_weights if weights is None else weights
    if trust is not None and is_named(weights):
        raise _nothing_to_trust(weights)
    if backbone.default_weights == NONE:
        return _no_weights(backbone, weights)
    if weights.startswith(_RANDOM):
        return _random_source(weights)
    if weights == BUNDLED:
        return _bundled_source(backbone)
    if weights == IMAGENET:
        return _imagenet_source(backbone, download=download)
    source = _file_source(backbone, weights, trust)
    if trust is not None and source.kind != "file":
        raise _nothing_to_trust(weights)
    return source


def is_named(weights: str) -> bool:
    """Tell whether weights are meant by a word alone, such as ``imagenet``, and not by a path.

    Args:
        weights: What stands in a run; a stranger's could name any file of this machine.
    """
    return _NAMED.fullmatch(weights) is not None


def _bundled_source(backbone: Backbone) -> WeightsSource:
    if backbone.name != MINI.name:
        raise ConfigError(f"no weights of {backbone.name} come with the package.")
    return WeightsSource(BUNDLED, MINI_WEIGHTS, None, sha256_file(MINI_WEIGHTS))


def _no_weights(backbone: Backbone, weights: str) -> WeightsSource:
    if weights != NONE:
        raise ConfigError(
            f"{backbone.name} has no weights. Received: weights={weights!r}",
            hint="Leave --weights out.",
        )
    return WeightsSource(NONE, None, None, backbone.preprocessing)


def _imagenet_source(backbone: Backbone, *, download: bool) -> WeightsSource:
    if not isinstance(backbone, Application):
        raise ConfigError(f"there are no ImageNet weights of {backbone.name}.")
    path = cache_folder() / backbone.weights_file
    if not path.is_file():
        if not download:
            raise _missing_imagenet(backbone, "not in the cache")
        _download(backbone, path)
    _require_md5(backbone, path)
    return WeightsSource(IMAGENET, path, None, sha256_file(path))


def _nothing_to_trust(weights: str) -> ConfigError:
    return ConfigError(
        f"`--trust-model` is for a whole model given as a file. Received: weights={weights!r}",
        hint="Leave it out.",
    )


def _file_source(backbone: Backbone, weights: str, trust: str | None) -> WeightsSource:
    suffix = ".safetensors" if backbone.name == MINI.name else ".h5"
    path = Path(weights).expanduser()
    is_keras = path.suffix == ".keras" and suffix == ".h5"
    if not is_keras:
        refuse_foreign_weights(path)
    if path.is_dir():
        path /= TUNED_FILE
        if path.is_file() and not is_finetuned(path):
            raise FeatureError(
                f"the fine-tuned weights {path} are damaged.",
                code="WEIGHTS_UNFIT",
                hint="Give the `histokeras finetune` command of that run again.",
            )
    if path.suffix == ".safetensors" and is_finetuned(path):
        return WeightsSource(FINETUNED, path, None, sha256_file(path))
    if not path.is_file():
        raise MissingError(
            f"`weights` names no file. Received: weights={weights!r}.",
            code="WEIGHTS_MISSING",
            hint=f"Give imagenet, random:SEED, the path of a {suffix} file, or a run folder of "
            "`histokeras finetune`.",
        )
    if path.suffix != suffix and not is_keras:
        raise ConfigError(
            f"`weights` must be a {suffix} file of weights alone. Received: weights={weights!r}",
            code="MODEL_UNTRUSTED",
        )
    if suffix == ".h5":
        require_plain_weights(path, trust=trust)
    return WeightsSource("file", path, None, sha256_file(path))


def is_finetuned(path: Path) -> bool:
    """Tell whether a file is a backbone that histokeras fine-tuned."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return read_tuned_card(file.metadata()) is not None
    except (safetensors.SafetensorError, OSError):
        return False


def read_tuned_card(metadata: Mapping[str, str] | None) -> dict[str, Any] | None:
    """Return what the metadata of a safetensors file say of a fine-tuned backbone.

    Args:
        metadata: Of the file.

    Returns:
        ``version`` and ``backbone``; None if it is no fine-tuned backbone.
    """
    try:
        card = parse_json((metadata or {}).get(TUNED_FORMAT, ""))
    except ValueError:
        return None
    return card if isinstance(card, dict) else None


def _random_source(weights: str) -> WeightsSource:
    seed = weights.removeprefix(_RANDOM)
    if not seed.isdigit() or int(seed) >= 2**32:
        raise ConfigError(
            "random weights need a seed from 0 to 4294967295, as in random:0. "
            f"Received: weights={weights!r}"
        )
    return WeightsSource("random", None, int(seed), f"{_RANDOM}{int(seed)}")


def _missing_imagenet(backbone: Application, why: str) -> MissingError:
    return MissingError(
        f"the ImageNet weights of {backbone.name} are not on this machine ({why}); they are a "
        f"download of {backbone.weights_mb} MB from {backbone.weights_url}.",
        code="WEIGHTS_MISSING",
        hint="Remedies: (1) run once with a network connection; (2) put that file into "
        f"{cache_folder()}, or name it with --weights PATH; (3) --weights random:0 runs without "
        "ImageNet, but its features know nothing of images.",
    )


def _require_md5(backbone: Application, path: Path) -> None:
    if backbone.weights_md5 is None:
        return
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if digest != backbone.weights_md5:
        raise MissingError(
            f"{path} is damaged: its MD5 is {digest}, expected {backbone.weights_md5}.",
            code="WEIGHTS_DAMAGED",
            hint="Delete it and run again, or give another copy with --weights PATH.",
        )


def _download(backbone: Application, path: Path) -> None:
    prepare_folder(path.parent)
    with temporary_path(path) as part:
        try:
            _fetch(backbone.weights_url, part)
        except urllib.error.HTTPError as error:
            raise _missing_imagenet(backbone, f"the server answered {error.code}") from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise _missing_imagenet(backbone, f"download failed: {reason}") from error
        _require_md5(backbone, part)


def _fetch(url: str, part: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, part.open("wb") as file:
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
        expected = response.headers.get("Content-Length")
        if expected is not None and file.tell() != int(expected):
            raise urllib.error.URLError("the connection broke off")
