"""Keras networks, their weights, devices and model files."""
