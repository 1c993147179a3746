"""Learning rates that change from step to step."""

from typing import Any

import keras
from keras import ops

from histokeras.errors import ConfigError


@keras.saving.register_keras_serializable("histokeras")
class PolyRate(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that falls to 0 as ``(1 - done)^power``, as DeepLab was trained.

    Args:
        rate: Where it begins, or where the warm-up ends.
        steps: Number of steps, the warm-up included; 0 after them.
        power: 1 falls in a straight line.
        warmup_steps: Steps over which it rises in a straight line first.

    Raises:
        ConfigError: If the rate, the steps or the power is not above 0, or the warm-up is as long
            as all.
    """

    def __init__(self, rate: float, steps: int, power: float = 0.9, warmup_steps: int = 0) -> None:
        for name, value in (("rate", rate), ("steps", steps), ("power", power)):
            if not value > 0:
                raise ConfigError(f"`{name}` must be above 0. Received: {name}={value}")
        if not 0 <= warmup_steps < steps:
            raise ConfigError(
                f"`warmup_steps` must lie in 0..{steps - 1}, one less than all steps. "
                f"Received: warmup_steps={warmup_steps}"
            )
        self.rate, self.steps, self.power, self.warmup_steps = rate, steps, power, warmup_steps

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step, counted from 0, float32."""
        step = ops.cast(step, "float32")
        done = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        rising = (step + 1) / max(1, self.warmup_steps)
        falling = ops.power(1 - ops.clip(done, 0.0, 1.0), self.power)
        return self.rate * ops.where(step < self.warmup_steps, rising, falling)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same schedule again."""
        names = ("rate", "steps", "power", "warmup_steps")
        return {name: getattr(self, name) for name in names}
