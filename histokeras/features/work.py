"""What a worker of an extraction is told, and what it does. TensorFlow is its own affair."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from histokeras.models.quiet import import_tensorflow
from histokeras.models.weights import WeightsSource
from histokeras.runs.worker import Channel, Work


@dataclass(frozen=True, kw_only=True)
class ExtractWork:
    """Extract slides in a worker; the setup that a supervisor takes.

    Attributes:
        folder: The output folder.
        settings: How features are made, as plain values.
        weights: The weights.
        gpus: ``all``, ``cpu`` or numbers.
        workers_per_gpu: How many workers share a GPU, each alone on it with its own network; 0
            for one worker with all GPUs.
        batch_size: Tiles read ahead together.
        readers: Reading threads of all workers together.
        overwrite: Whether what is there is done anew.
    """

    folder: Path
    settings: dict[str, Any]
    weights: WeightsSource
    gpus: str = "all"
    workers_per_gpu: int = 0
    batch_size: int = 64
    readers: int = 2
    overwrite: bool = False

    def workers(self, facts: dict[str, Any]) -> int:
        """Return how many workers there shall be, given what the first one found."""
        return max(1, self.workers_per_gpu * len(facts.get("gpus", ())))

    def __call__(self, channel: Channel) -> Work:
        """Load the network."""
        import_tensorflow()
        # The supervisor imports this file too, and needs no TensorFlow.
        from histokeras.features.worker import begin  # noqa: PLC0415

        return begin(self, channel)
