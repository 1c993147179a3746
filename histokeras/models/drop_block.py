"""DropBlock: whole squares of a map are dropped in training, where neighbours would tell the rest.

Ghiasi et al. 2018, https://arxiv.org/abs/1810.12890. It stands behind the blocks of a backbone's
last two stages, a quarter of the rate behind the first of them.
"""

from typing import Any

import keras
from keras import ops

from histokeras.errors import ConfigError

RAMP_STEPS = 5000
BLOCK_CELLS = 7
_EARLY = 0.25
_STAGES = {
    "resnet50": (
        tuple(f"conv4_block{number}_out" for number in range(1, 7)),
        tuple(f"conv5_block{number}_out" for number in range(1, 4)),
    ),
    "mini": (("stage2_out",), ("stage3_out",)),
}
"""Backbone -> the last layers of the blocks of its last stage but one, and of its last."""
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("histokeras")
class DropBlock(keras.layers.Layer):
    """Drop squares of a map while training, each channel for itself; what stays is scaled up.

    The rate rises in a straight line from 0. How many steps are done is a weight, so that training
    that goes on from its weights goes on with the rate too. In inference nothing is changed.

    Args:
        rate: Share of the map that is dropped in the end, 0..1, 1 excluded; a little less where
            squares overlap.
        block_cells: Side of a square in cells; that of the map where the map is smaller.
        ramp_steps: Steps until the rate is reached, at least 1.
        seed: Of what is dropped.
    """

    def __init__(
        self,
        rate: float,
        block_cells: int = BLOCK_CELLS,
        ramp_steps: int = RAMP_STEPS,
        seed: int | None = None,
        **how: Any,
    ) -> None:
        super().__init__(**how)
        _require_rate(rate)
        for name, value in (("block_cells", block_cells), ("ramp_steps", ramp_steps)):
            if value < 1:
                raise ConfigError(f"`{name}` must be at least 1. Received: {name}={value}")
        self.rate, self.block_cells, self.ramp_steps = rate, block_cells, ramp_steps
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Shape) -> None:
        """Make the count of steps. Each device counts its own, and all do every step."""
        # Whole numbers up to 2^24 are exact; a GPU keeps integers elsewhere than the rest.
        self.steps = self.add_weight(
            name="steps", dtype="float32", initializer="zeros", trainable=False, autocast=False
        )

    def call(self, x: Any, training: bool | None = False) -> Any:
        """Return the map ``(b, h, w, c)``, h and w known, with squares set to 0 in training."""
        if not training or not self.rate:
            return x
        done = self.steps.value
        rate = self.rate * ops.minimum(1.0, done / self.ramp_steps)
        self.steps.assign(done + 1.0)
        _, h, w, channels = x.shape
        size = min(self.block_cells, h, w)
        # Each place where a whole square fits: so many of them that the rate comes out.
        places = (ops.shape(x)[0], h - size + 1, w - size + 1, channels)
        chance = rate * (h * w) / (size**2 * places[1] * places[2])
        drawn = keras.random.uniform(places, dtype="float32", seed=self.seed_generator)
        kept = kept_cells(ops.cast(drawn < chance, "float32"), size)
        # Whatever was drawn, what stays is on average 1.
        scale = ops.cast(ops.size(kept), "float32") / ops.maximum(ops.sum(kept), 1.0)
        return x * ops.cast(kept * scale, x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the map."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes the same layer again."""
        own = {"rate": self.rate, "block_cells": self.block_cells}
        return {**super().get_config(), **own, "ramp_steps": self.ramp_steps, "seed": self.seed}


def kept_cells(corners: Any, size: int) -> Any:
    """Return which cells no square covers.

    Args:
        corners: Float32 (b, h - size + 1, w - size + 1, c), 1 where a square has its upper left
            corner, else 0.
        size: Side of the squares in cells.

    Returns:
        Float32 (b, h, w, c), 1 where a cell is kept, else 0.
    """
    rim = (size - 1, size - 1)
    wide = ops.pad(corners, ((0, 0), rim, rim, (0, 0)))
    return 1.0 - ops.max_pool(wide, size, strides=1, padding="valid")


def require_drop_block(backbone: str, rate: float) -> None:
    """Refuse DropBlock where it cannot be had.

    Args:
        backbone: Its name.
        rate: 0 for none.

    Raises:
        ConfigError: If the rate is no share, or the backbone has no blocks that are known.
    """
    _require_rate(rate)
    if rate and backbone not in _STAGES:
        raise ConfigError(
            f"`--drop-block` is of {', '.join(_STAGES)}. Received: --backbone {backbone}"
        )


def _require_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise ConfigError(f"`drop_block` is a share, 0..1, 1 excluded. Received: {rate}")


def with_drop_block(
    network: keras.Model, backbone: str, rate: float, *, ramp_steps: int = RAMP_STEPS, seed: int = 0
) -> keras.Model:
    """Build a network with DropBlock from the layers of another, which stays as it is.

    Args:
        network: From :func:`histokeras.models.backbones.build_backbone`. What the new network
            learns, it has learned too.
        backbone: Its name.
        rate: Behind the blocks of the last stage; a quarter of it behind those of the one before.
        ramp_steps: Steps until the rate is reached.
        seed: Of what is dropped.

    Returns:
        A model of the same inputs and outputs.

    Raises:
        ConfigError: If the rate is no share, or the backbone has no blocks that are known.
    """
    require_drop_block(backbone, rate)
    rates = {
        name: share
        for names, share in zip(_STAGES[backbone], (rate * _EARLY, rate), strict=True)
        for name in names
    }

    def called(layer: keras.layers.Layer, *inputs: Any, **how: Any) -> Any:
        x = layer(*inputs, **how)
        if layer.name not in rates:
            return x
        number = list(rates).index(layer.name)
        drop = DropBlock(
            rates[layer.name],
            ramp_steps=ramp_steps,
            # One seed for all would drop the same squares everywhere.
            seed=seed * len(rates) + number,
            name=f"{layer.name}_drop_block",
        )
        return drop(x)

    return keras.models.clone_model(
        network, call_function=called, clone_function=lambda layer: layer
    )
