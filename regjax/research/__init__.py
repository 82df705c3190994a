"""Tools for research on regularised networks: pure functions on those of `regjax.core`."""
