"""Data sets by name or path, and their splits. `regjax.study` resolves what a sweep trains on with it."""
