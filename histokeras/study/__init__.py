"""Whole studies: stages in order, each resumed, or skipped when nothing that decides it changed."""
