"""Fit heads and predict with them."""
