from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from histokeras.errors import ConfigError, OutputError
from histokeras.training import loop
from histokeras.training.checkpoint import State
from histokeras.training.loop import Batch, FitConfig, Resume, WarmUp, fit, vector_data

N, WIDTH, BATCH = 48, 6, 16
CONFIG = FitConfig(epochs=6, batch_size=BATCH, learning_rate=0.02, patience=6, seed=1)


class Stopped(Exception):
    pass


def tables() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, WIDTH)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32")


def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((WIDTH,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    # Its seed is a variable: a resumed training must draw on, not begin again.
    x = keras.layers.Dropout(0.5, seed=5)(x)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def batches(epoch: int) -> Iterator[Batch]:
    x, y = tables()
    order = np.random.default_rng((1, epoch)).permutation(N)
    for start in range(0, N, BATCH):
        rows = order[start : start + BATCH]
        yield x[rows], y[rows], np.ones(len(rows), np.float32)


DATA = vector_data(batches, steps=N // BATCH, n_features=WIDTH)


def validate(model: keras.Model) -> dict[str, float]:
    x, y = tables()
    chosen = np.asarray(model(x, training=False))[np.arange(N), y]
    return {"val_loss": float(-np.log(chosen).mean())}


def validations(losses: list[float]) -> Callable[[keras.Model], dict[str, float]]:
    left = iter(losses)
    return lambda model: {"val_loss": next(left)}


def fitted(model: keras.Model, folder: Path | None = None, stop_after: int = 0) -> pd.DataFrame:
    def on_epoch(row: dict[str, float]) -> None:
        if row["epoch"] == stop_after:
            raise Stopped

    resume = None if folder is None else Resume(folder / "checkpoint.safetensors", "key")
    return fit(model, DATA, validate, CONFIG, resume=resume, on_epoch=on_epoch)


@pytest.fixture(scope="module")
def whole() -> tuple[pd.DataFrame, list[np.ndarray]]:
    model = network()
    return fitted(model), model.get_weights()


def test_training_learns_and_keeps_the_best_epoch(
    whole: tuple[pd.DataFrame, list[np.ndarray]],
) -> None:
    history, weights = whole
    model = network()
    model.set_weights(weights)

    assert list(history["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert history["val_loss"].iloc[-1] < history["val_loss"].iloc[0]
    assert history["best"].sum() == 1
    assert validate(model)["val_loss"] == history["val_loss"].min()


@pytest.mark.parametrize("stop_after", [1, 4])
def test_an_interrupted_training_ends_with_the_same_bits(
    stop_after: int, whole: tuple[pd.DataFrame, list[np.ndarray]], tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        fitted(network(), tmp_path, stop_after)
    again = network()

    history = fitted(again, tmp_path)

    pd.testing.assert_frame_equal(history, whole[0], check_exact=True)
    for found, expected in zip(again.get_weights(), whole[1], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_finished_training_is_not_taken_further(tmp_path: Path) -> None:
    first = fitted(network(), tmp_path)
    model = network()
    resume = Resume(tmp_path / "checkpoint.safetensors", "key")

    again = fit(model, DATA, validations([]), CONFIG, resume=resume)

    pd.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize("damage", ["other bytes", "half a file", "one bit", "other key"])
def test_a_checkpoint_that_cannot_be_taken_up_is_named_and_training_begins_anew(
    damage: str, whole: tuple[pd.DataFrame, list[np.ndarray]], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stopped):
        fitted(network(), tmp_path, 1)
    data = bytearray(path.read_bytes())
    # In the middle of the weights, where no reader of the format would stumble.
    data[-200] ^= damage == "one bit"
    path.write_bytes({"other bytes": b"not weights", "half a file": data[: len(data) // 2]}
                     .get(damage, data))  # fmt: skip
    said: list[str] = []
    key = "other" if damage == "other key" else "key"
    model = network()

    history = fit(model, DATA, validate, CONFIG, resume=Resume(path, key, said.append))

    why = "of other settings, data or versions." if damage == "other key" else "damaged: "
    assert len(said) == 1
    assert f"the checkpoint {path} is {why}" in said[0]
    assert said[0].endswith(". Training begins anew.")
    pd.testing.assert_frame_equal(history, whole[0], check_exact=True)
    for found, expected in zip(model.get_weights(), whole[1], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_checkpoints_take_no_more_than_their_share_of_the_time(
    whole: tuple[pd.DataFrame, list[np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    clock = [0.0]

    def write(path: Path, model: keras.Model, state: State, *, key: str) -> None:
        written.append(state.epoch)
        clock[0] += 1

    def slow(model: keras.Model) -> dict[str, float]:
        clock[0] += 10
        return validate(model)

    monkeypatch.setattr(loop, "write_checkpoint", write)
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])

    fit(network(), DATA, slow, CONFIG, resume=Resume(tmp_path / "c", "key"))

    # 1 s to write, so 19 s until the next: two epochs of 10 s each. And the end, whenever it comes.
    assert written == [1, 3, 5, 6]


def test_what_cannot_be_written_stops_the_training_at_once(tmp_path: Path) -> None:
    epochs: list[float] = []

    with pytest.raises(OutputError, match=r"cannot write .*gone/checkpoint"):
        fit(
            network(), DATA, validate, CONFIG, on_epoch=lambda row: epochs.append(row["epoch"]),
            resume=Resume(tmp_path / "gone" / "checkpoint.safetensors", "key"),
        )  # fmt: skip

    assert not epochs


def test_patience_counts_from_the_best_epoch_and_the_start_competes() -> None:
    config = FitConfig(epochs=6, batch_size=BATCH, patience=2)
    model = network()
    start = model.get_weights()

    never = fit(model, DATA, validations([0.5, 0.9, 0.8, 0.7]), config, from_start=True)

    # Better than before is not better than the best.
    assert list(never["epoch"]) == [0, 1, 2]
    assert list(never["best"]) == [True, False, False]
    for found, expected in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(found, expected)
    later = fit(network(), DATA, validations([0.9, 0.8, 0.85, 0.7, 0.8, 0.9]), config)
    assert list(later["best"]) == [False, False, False, True, False, False]


def test_a_loss_that_is_no_number_stops_with_a_reason() -> None:
    with pytest.raises(ConfigError, match=r"`val_loss` is nan after epoch 2.*--learning-rate"):
        fit(network(), DATA, validations([0.5, float("nan")]), CONFIG)


def test_the_rate_rises_and_then_stays() -> None:
    rates = [float(WarmUp(0.4, 4)(step)) for step in range(6)]

    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], rtol=1e-6)
