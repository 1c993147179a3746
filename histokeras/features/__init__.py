"""Bottleneck features: engine, extraction and the feature file."""
