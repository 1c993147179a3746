"""Words shared by every floor: column names and units."""

from typing import NewType

Mpp = NewType("Mpp", float)
"""Resolution in micrometres per pixel."""

SLIDE_ID = "slide_id"
PATIENT_ID = "patient_id"
TILE = "tile"
LABEL = "label"
SPLIT = "split"
FOLD = "fold"
SPLITS = ("train", "val", "test")
LEVELS = ("tile", "slide", "patient")
"""Levels at which labels may stand, finest first."""
PROB = "prob_"
"""Prefix of the probability columns: ``prob_<class>``."""
