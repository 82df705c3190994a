"""Data sets: named ones, files, and their splits."""
