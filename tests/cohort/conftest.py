import numpy as np
import pytest

# Tumour type: patients, median of the Buffa pan-cancer score, patients above the pooled median 1.
_SUMMARY = {
    "BLCA": (408, 15, 304), "BRCA": (1100, -13, 318), "CESC": (306, 25, 274),
    "COADREAD": (382, 19, 330), "GBM": (166, 11, 113), "HNSC": (522, 31, 505),
    "KIRC": (534, 1, 258), "KIRP": (291, -11, 55), "LGG": (530, -25, 8), "LIHC": (373, -11, 61),
    "LUAD": (517, 1, 251), "LUSC": (501, 29, 474), "OV": (307, 11, 222), "PAAD": (179, -13, 52),
    "PCPG": (184, -17, 17), "PRAD": (333, -29, 4), "SKCM": (472, 7, 300), "THCA": (509, -33, 0),
    "UCEC": (177, 19, 146),
}  # fmt: skip


@pytest.fixture(scope="session")
def summary() -> dict[str, tuple[int, int, int]]:
    """n, median and positives of each tumour type in the study's table of scores."""
    return dict(_SUMMARY)


@pytest.fixture(scope="session")
def summary_cohort() -> tuple[np.ndarray, list[str]]:
    """Scores and tumour types of a cohort that has these n, medians and positives."""
    scores, types = [], []
    for name, (n, median, positives) in _SUMMARY.items():
        # The majority sits at the median itself, the others on the far side of 1.
        above = median if median > 1 else 51
        below = -1 if median > 1 else median
        scores += [above] * positives + [below] * (n - positives)
        types += [name] * n
    return np.array(scores, np.float64), types
