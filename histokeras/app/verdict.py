"""From probabilities to one sentence, which may be "unsure"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CLOSE = 0.15
"""Two classes are close if their probabilities differ by less."""
DEFAULT_THRESHOLD = 0.7


@dataclass(frozen=True)
class Verdict:
    """What is said of a tile.

    Attributes:
        best: The most probable class.
        unsure: Whether it should not be relied on.
        head: A few words: the class, or "Unsure".
        sentence: Why.
    """

    best: str
    unsure: bool
    head: str
    sentence: str


def judge(probs: Mapping[str, float], threshold: float, words: Mapping[str, str]) -> Verdict:
    """Say which class it is, or that it is unsure.

    Args:
        probs: Class to probability, 0..1; at least two classes.
        threshold: Below this probability of the best class the answer is "unsure".
        words: Class to what it is called.
    """
    ranked = ranking(probs)
    (best, first), (other, second) = ranked[:2]
    if first < threshold:
        sentence = (
            f"The most probable class, {words[best]}, has {first:.2f}, less than the "
            f"{threshold:.2f} that you ask for."
        )
        return Verdict(best, True, "Unsure", sentence)
    if first - second < CLOSE:
        sentence = f"{words[best]} ({first:.2f}) and {words[other]} ({second:.2f}) are close."
        return Verdict(best, True, "Unsure", sentence)
    return Verdict(best, False, words[best], f"Probability {first:.2f}.")


def ranking(probs: Mapping[str, float]) -> Sequence[tuple[str, float]]:
    """Return classes and probabilities, the most probable first, equal ones by name."""
    return sorted(probs.items(), key=lambda item: (-item[1], item[0]))
