"""Measurements: every opponent in the same run, warm-up first, medians with their spread."""
