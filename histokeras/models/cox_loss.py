"""The partial likelihood of Cox's model as a loss: whose risk is higher has the event earlier."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("histokeras")
def cox_loss(y_true: Any, y_pred: Any) -> Any:
    """Return what each patient adds to the negative partial log-likelihood, Efron's ties.

    The risk set of an event is those of the batch who were followed at least as long. Of ``d``
    events at one time the ``l``-th (from 0) has the sum ``S - l/d D``, where ``D`` is the sum over
    these ``d`` alone (Efron 1977). Their mean is the loss an event, whatever the number of
    patients.

    Args:
        y_true: Ranks of the times from 1, negative where censored, float32 ``(b,)``; equal times
            have equal ranks. Ranks are whole numbers: times of days would be rounded.
        y_pred: Logarithms of hazard ratios, float32 ``(b, 1)``.

    Returns:
        float32 ``(b,)``; 0 for those who were censored, and for all where there is no event.
    """
    ops = keras.ops
    signed, risk = ops.reshape(y_true, (-1,)), ops.reshape(y_pred, (-1,))
    rank, event = ops.abs(signed), ops.cast(signed > 0, risk.dtype)
    at_risk = ops.cast(rank[None, :] >= rank[:, None], risk.dtype)
    tied = ops.cast(rank[None, :] == rank[:, None], risk.dtype) * event[None, :] * event[:, None]
    position = ops.arange(ops.shape(risk)[0])
    before = ops.sum(tied * ops.cast(position[None, :] < position[:, None], risk.dtype), axis=1)
    share = before / ops.maximum(ops.sum(tied, axis=1), 1.0)
    # The same for all, so that none of the exponentials overflows; it falls out of the quotient.
    centred = risk - ops.stop_gradient(ops.max(risk))
    weights = at_risk - share[:, None] * tied
    # Of those who were censored no logarithm is wanted: one that is 0 / 0 would spoil the gradient.
    sums = ops.sum(weights * ops.exp(centred)[None, :], axis=1)
    logs = ops.log(ops.where(event > 0, ops.maximum(sums, 1e-30), 1.0))
    n = ops.cast(ops.shape(risk)[0], risk.dtype)
    return event * (logs - centred) * n / ops.maximum(ops.sum(event), 1.0)
