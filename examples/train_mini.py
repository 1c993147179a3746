"""Train the small backbone ``mini`` on procedural tissue and write its float16 weights.

Run ``python examples/train_mini.py --out mini.safetensors``; some 25 minutes on two cores, neither
slides nor network needed. Tiles are drawn once as amounts of dye; every step then stains them
anew, in the TensorFlow graph, twice: two crops of one tile under two stains share a scale and must
look alike to the network (NT-Xent, Chen et al. 2020, https://arxiv.org/abs/2002.05709). The
tissue is learned from the whole crop (mixture of classes) and from a grid of 16 px cells (mixture
of classes, share of nuclei, amounts of dye), so that no stain tells the answer.
"""

import math
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from histokeras.files import write_bytes
from histokeras.models.mini import MINI_LAST_CONV, MINI_STRIDE, build_mini, load_mini, save_mini
from histokeras.slides.synthetic import CLASSES, DYES, random_profile, render_tile, tissue_tile
from histokeras.slides.synthetic.stains import StainProfile

TRAIN_SEEDS = range(1_000_000, 1_900_000)
"""Seeds of training tiles. Demo, sample slides and tests of other parts stay below."""
CHECK_SEEDS = range(1_900_000, 2_000_000)
"""Seeds of the tiles on which the finished network's own classes are checked."""
TILE_PX = 224
CROP_PX = 112
"""Side of a training crop: 56 um of tissue times the scale, 0.58 to 1.42."""
_PAIRS = 32
_PER_UNIT = 100
"""Amounts of dye are kept in hundredths, uint8."""
_MIXED = 0.35
_SCALES = (0.58, 1.42)
_TEMPERATURE = 0.2
_WEIGHTS = {"classes": 1.0, "grid": 1.0, "nuclei": 4.0, "dyes": 2.0, "alike": 0.3}
_RATE = 2e-3
_DECAY = 0.02
_WARM_SHARE = 0.05

Bytes = npt.NDArray[np.uint8]


def drawn_tile(seed: int) -> Bytes:
    """Return one tile: five amounts of dye in hundredths, class, nuclei; uint8 (224, 224, 7)."""
    rng = np.random.default_rng(seed)
    tile = tissue_tile(
        CLASSES[seed % len(CLASSES)],
        seed=seed,
        size_px=TILE_PX,
        architecture=float(rng.random()),
        mixed=bool(rng.random() < _MIXED),
    )
    dyes = np.clip(np.rint(tile.concentrations * _PER_UNIT), 0, 255).astype(np.uint8)
    return np.concatenate(
        [dyes, tile.classes[..., None], tile.nuclei[..., None].astype(np.uint8)], axis=-1
    )


def drawn_tiles(n_tiles: int, seed: int, processes: int = 1) -> Bytes:
    """Draw the training tiles, all classes equally often.

    Args:
        n_tiles: How many.
        seed: Which part of ``TRAIN_SEEDS`` to take.
        processes: 1 to draw them in this process.

    Returns:
        uint8 (n_tiles, 224, 224, 7), see :func:`drawn_tile`.
    """
    seeds = [TRAIN_SEEDS[(seed * n_tiles + i) % len(TRAIN_SEEDS)] for i in range(n_tiles)]
    tiles = np.empty((n_tiles, TILE_PX, TILE_PX, len(DYES) + 2), np.uint8)
    if processes == 1:
        for i, tile in enumerate(map(drawn_tile, seeds)):
            tiles[i] = tile
        return tiles
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for i, tile in enumerate(pool.map(drawn_tile, seeds, chunksize=16)):
            tiles[i] = tile
    return tiles


def _uniform(n: int, low: float, high: float, *shape: int) -> tf.Tensor:
    return tf.random.uniform((n, *shape), low, high)


def _transforms(turn: tf.Tensor, scale: tf.Tensor, flip: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Return the eight numbers per crop that lead from its pixels to those of the tile."""
    cosine, sine = scale * tf.cos(turn), scale * tf.sin(turn)
    middle = (CROP_PX - 1) / 2
    to_x = (TILE_PX - 1) / 2 + shift[:, 0] - cosine * flip * middle + sine * middle
    to_y = (TILE_PX - 1) / 2 + shift[:, 1] - sine * flip * middle - cosine * middle
    none = tf.zeros_like(turn)
    return tf.stack([cosine * flip, -sine, to_x, sine * flip, cosine, to_y, none, none], axis=1)


def _read(tiles: tf.Tensor, transforms: tf.Tensor, step: int, how: str) -> tf.Tensor:
    """Read every ``step``-th pixel of the crops."""
    a, b, c, d, e, f, g, h = tf.unstack(transforms, axis=1)
    start = (step - 1) / 2
    thinned = tf.stack(
        [a * step, b * step, c + (a + b) * start, d * step, e * step, f + (d + e) * start, g, h], 1
    )
    side = CROP_PX // step
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tiles,
        transforms=thinned,
        output_shape=[side, side],
        fill_value=0.0,
        interpolation=how,
        fill_mode="REFLECT",
    )


def crops(tiles: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cut two random crops out of every tile, anywhere, turned and flipped, of one scale.

    Args:
        tiles: uint8 (n, 224, 224, 7).

    Returns:
        Amounts of dye, float (2 n, 112, 112, 5); per cell of 16 px the mixture of classes,
        float (2 n, 7, 7, 8), and the share of nuclei, float (2 n, 7, 7, 1). The second crops of
        all tiles follow the first.
    """
    n = 2 * tiles.shape[0]
    scale = tf.exp(_uniform(n // 2, math.log(_SCALES[0]), math.log(_SCALES[1])))
    scale = tf.concat([scale, scale], 0)
    reach = tf.maximum(0.0, (TILE_PX - CROP_PX * scale) / 2)
    shift = _uniform(n, -1, 1, 2) * reach[:, None]
    flip = tf.sign(_uniform(n, -1, 1))
    transforms = _transforms(_uniform(n, 0, 2 * math.pi), scale, flip, shift)
    # Bytes are read as they are: eight times as fast as to read floats.
    amounts, labels = (
        tf.concat([part, part], 0) for part in tf.split(tiles, [len(DYES), 2], axis=-1)
    )
    dyes = tf.cast(_read(amounts, transforms, 1, "BILINEAR"), tf.float32) / _PER_UNIT
    labels = _read(labels, transforms, 4, "NEAREST")
    classes = tf.one_hot(tf.cast(labels[..., 0], tf.int32), len(CLASSES))
    nuclei = tf.cast(labels[..., 1:], tf.float32)
    cell = MINI_STRIDE // 4
    return (
        dyes,
        tf.nn.avg_pool2d(classes, cell, cell, "VALID"),
        tf.nn.avg_pool2d(nuclei, cell, cell, "VALID"),
    )


def stained(dyes: tf.Tensor) -> tf.Tensor:
    """Stain crops, each by a laboratory and a scanner of its own.

    Args:
        dyes: Amounts, float (n, h, w, 5).

    Returns:
        RGB of 0..255, float (n, h, w, 3).
    """
    n = dyes.shape[0]
    vectors = tf.constant(StainProfile().vectors)[None] * _uniform(n, 0.82, 1.18, len(DYES), 3)
    # The whole section is cut thick or thin, each dye taken up well or badly.
    amounts = tf.exp(_uniform(n, -0.3, 0.2, 1) + _uniform(n, -0.3, 0.3, len(DYES)))
    gamma = tf.exp(_uniform(n, -0.2, 0.2, 1, 1))
    density = tf.einsum("nhwd,ndc->nhwc", dyes, vectors * amounts[..., None] * gamma)
    white = _uniform(n, 215, 252, 1, 1, 1) + _uniform(n, -9, 9, 1, 1, 3)
    return white * tf.exp(-math.log(10) * density)


def photographed(light: tf.Tensor) -> tf.Tensor:
    """Blur or sharpen, add noise, and press as JPEG.

    Args:
        light: RGB of 0..255, float (n, h, w, 3).

    Returns:
        The same shape and range.
    """
    n = light.shape[0]
    near = tf.nn.avg_pool2d(light, 3, 1, "SAME")
    far = tf.nn.avg_pool2d(near, 3, 1, "SAME")
    # Below 0 is a blur, above 0 what scanners do to edges.
    light = light + _uniform(n, -1.0, 0.9, 1, 1, 1) * (light - far)
    light += tf.random.normal(tf.shape(light)) * _uniform(n, 0, 5, 1, 1, 1)
    picture = tf.cast(tf.clip_by_value(tf.round(light), 0, 255), tf.uint8)
    quality = tf.random.uniform((n,), 45, 100, tf.int32)
    pressed = tf.map_fn(_jpeg, (picture, quality), fn_output_signature=tf.uint8)
    return tf.cast(tf.ensure_shape(pressed, picture.shape), tf.float32)


def _jpeg(picture: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    pressed = tf.raw_ops.EncodeJpegVariableQuality(images=picture[0], quality=picture[1])
    return tf.io.decode_jpeg(pressed)


@dataclass(frozen=True)
class Trainee:
    """The backbone and what is put on it to teach it.

    Attributes:
        backbone: From ``build_mini``.
        whole: The backbone with its outputs: logits of the classes (n, 8), grid (n, 7, 7, 8 + 1 +
            5) of logits of classes, logit of nuclei and amounts of dye, and projection (n, 64).
        head: The layer of the classes.
    """

    backbone: keras.Model
    whole: keras.Model
    head: keras.layers.Layer


def build_trainee() -> Trainee:
    """Build the backbone with its four teachers, all random."""
    backbone = build_mini(CROP_PX)
    features, grid = backbone.output, backbone.get_layer(MINI_LAST_CONV).output
    head = keras.layers.Dense(len(CLASSES), name="classes")
    hidden = keras.layers.Dense(128, "relu", name="hidden")(features)
    outputs = [
        head(features),
        keras.layers.Conv2D(len(CLASSES) + 1 + len(DYES), 1, name="grid")(grid),
        keras.layers.Dense(64, name="projection")(hidden),
    ]
    return Trainee(backbone, keras.Model(backbone.input, outputs, name="trainee"), head)


def losses(
    outputs: list[tf.Tensor], dyes: tf.Tensor, classes: tf.Tensor, nuclei: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Return the losses by name; arguments as :class:`Trainee` and :func:`crops` give them."""
    logits, grid, projection = outputs
    n_classes = len(CLASSES)
    amounts = tf.nn.avg_pool2d(dyes, MINI_STRIDE, MINI_STRIDE, "VALID")
    entropy = tf.nn.softmax_cross_entropy_with_logits
    share = tf.sigmoid(grid[..., n_classes : n_classes + 1])
    return {
        "classes": tf.reduce_mean(entropy(tf.reduce_mean(classes, (1, 2)), logits)),
        "grid": tf.reduce_mean(entropy(classes, grid[..., :n_classes])),
        "nuclei": tf.reduce_mean(tf.square(share - nuclei)),
        "dyes": tf.reduce_mean(tf.square(grid[..., n_classes + 1 :] - amounts)),
        "alike": alike_loss(projection),
    }


def alike_loss(projection: tf.Tensor) -> tf.Tensor:
    """Return NT-Xent of vectors (2 n, d), where row i + n is the other view of row i."""
    n = projection.shape[0] // 2
    unit = tf.math.l2_normalize(projection, axis=1, epsilon=1e-6)
    similar = tf.matmul(unit, unit, transpose_b=True) / _TEMPERATURE - 1e9 * tf.eye(2 * n)
    partner = tf.concat([tf.range(n, 2 * n), tf.range(n)], 0)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(partner, similar))


def learning_rate(done: float) -> float:
    """Return AdamW's rate when a share of the training is done: a short rise, then a cosine."""
    fall = max(0.0, done - _WARM_SHARE) / (1 - _WARM_SHARE)
    return _RATE * min(1.0, 0.1 + 0.9 * done / _WARM_SHARE) * (1 + math.cos(math.pi * fall)) / 2


def train(
    trainee: Trainee, tiles: Bytes, steps: int, seed: int, minutes: float = math.inf
) -> Iterator[dict[str, float]]:
    """Train, and hand out the losses after every step.

    Args:
        trainee: What to train, in place.
        tiles: From :func:`drawn_tiles`.
        steps: Number of steps of 64 crops.
        seed: For the order of the tiles.
        minutes: On a slow machine end after so long, with fewer steps; the rate falls in time.

    Yields:
        The losses by name, and their weighted sum as ``loss``.
    """
    optimizer = keras.optimizers.AdamW(_RATE, weight_decay=_DECAY, global_clipnorm=5.0)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    optimizer.build(trainee.whole.trainable_variables)

    @tf.function
    def step(some: tf.Tensor) -> dict[str, tf.Tensor]:
        dyes, classes, nuclei = crops(some)
        images = photographed(stained(dyes))
        with tf.GradientTape() as tape:
            each = losses(trainee.whole(images, training=True), dyes, classes, nuclei)
            total = tf.add_n([_WEIGHTS[name] * loss for name, loss in each.items()])
        variables = trainee.whole.trainable_variables
        optimizer.apply(tape.gradient(total, variables), variables)
        return {"loss": total, **each}

    start = time.monotonic()
    rng = np.random.default_rng(seed)
    order = np.empty(0, np.int64)
    size = min(_PAIRS, len(tiles))
    for number in range(steps):
        done = max(number / steps, (time.monotonic() - start) / 60 / minutes)
        if done >= 1:
            return
        optimizer.learning_rate = learning_rate(done)
        if len(order) < size:
            order = rng.permutation(len(tiles))
        some, order = order[:size], order[size:]
        yield {name: float(loss) for name, loss in step(tf.constant(tiles[some])).items()}


def check(trainee: Trainee, n_tiles: int) -> float:
    """Return the share of fresh tiles of one class, freshly stained, that are named rightly."""
    seeds = CHECK_SEEDS[:n_tiles]
    kinds = [seed % len(CLASSES) for seed in seeds]
    right = 0
    backbone = build_mini()
    backbone.set_weights(trainee.backbone.get_weights())
    for seed, kind in zip(seeds, kinds, strict=True):
        architecture = float(np.random.default_rng(seed).random())
        tile = tissue_tile(CLASSES[kind], seed=seed, size_px=TILE_PX, architecture=architecture)
        picture = render_tile(tile, random_profile(seed))
        logits = trainee.head(backbone(picture[None].astype(np.float32), training=False))
        right += int(np.argmax(logits) == kind)
    return right / n_tiles


def _write_head(path: Path, head: keras.layers.Layer) -> None:
    kernel, bias = (np.asarray(weight, np.float32) for weight in head.get_weights())
    write_bytes(path, np.concatenate([kernel, bias[None]]).astype("<f4").tobytes())


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Weights to write.")
@click.option("--tiles", "n_tiles", default=2400, show_default=True, help="Tiles to draw.")
@click.option("--steps", default=2350, show_default=True, help="Steps of 64 crops.")
@click.option("--minutes", default=math.inf, help="Take fewer steps on a slow machine.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other tiles.")
@click.option("--processes", default=2, show_default=True, help="For the drawing.")
@click.option("--head-out", type=click.Path(path_type=Path), help="The class head, float32.")
@click.option("--check-tiles", default=400, show_default=True, help="Fresh tiles; 0 for none.")
def main(
    out: Path, n_tiles: int, steps: int, minutes: float, seed: int, processes: int,
    head_out: Path | None, check_tiles: int,
) -> None:  # fmt: skip
    """Train ``mini`` on procedural tissue; write its weights as float16."""
    start = time.monotonic()
    keras.utils.set_random_seed(seed)
    tiles = drawn_tiles(n_tiles, seed, processes)
    print(f"{n_tiles} tiles drawn after {time.monotonic() - start:.0f} s", flush=True)
    trainee = build_trainee()
    mean: dict[str, float] = {}
    for number, each in enumerate(train(trainee, tiles, steps, seed, minutes), start=1):
        mean = {name: 0.95 * mean.get(name, loss) + 0.05 * loss for name, loss in each.items()}
        if number % 50 == 0 or number == steps:
            text = "  ".join(f"{name} {loss:.4f}" for name, loss in mean.items())
            print(f"{number}/{steps}  {time.monotonic() - start:.0f} s  {text}", flush=True)
    print(f"{number} steps of {2 * _PAIRS} crops", flush=True)
    save_mini(trainee.backbone, out)
    # What is checked is what was written.
    load_mini(trainee.backbone, out)
    if head_out is not None:
        _write_head(head_out, trainee.head)
    if check_tiles:
        print(f"fresh tiles named rightly: {check(trainee, check_tiles):.3f} of {check_tiles}")
    print(f"{out}: {out.stat().st_size} bytes, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
