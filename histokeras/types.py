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
PRED = "pred_"
"""Prefix of the column of a predicted number: ``pred_<target>``."""
ATTENTION = "attention"
"""Column of what a tile weighs in its bag, 0..1; 1 in all over the bag."""
CLASSIFICATION, REGRESSION, SURVIVAL = "classification", "regression", "survival"
TASKS = (CLASSIFICATION, REGRESSION, SURVIVAL)
"""What is learned: classes, a number, or who has an event earlier."""
RISK = "risk"
"""Column of a logarithm of a hazard ratio, against the mean of the training patients; higher is
worse."""

IGNORE = 255
"""Class number of a pixel that has no class: it counts neither in training nor in a figure."""

MASK_KINDS = ("auto", "binary", "soft", "channel", "palette", "alpha", "colours", "codes")
"""Ways to write a class mask; what is drawn (GeoJSON, JSON, XML) is known by its file."""

STAIN_NORMS = ("none", "macenko", "reinhard")
"""Ways to normalise stains. What one does is part of the features: changed, it gets another name.
Here, so that the command line can list them without NumPy."""

DKM_A, DKM_P, KMEANS = "dkm-a", "dkm-p", "kmeans"
CLUSTER_METHODS = (DKM_A, DKM_P, KMEANS)
"""Ways to cluster tiles: deep k-means annealed or pretrained, and k-means."""
MAPS = ("pca", "umap")
"""Ways to map tiles to two numbers: principal components, UMAP."""
