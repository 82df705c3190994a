"""The parts of bench_coverage, a file for each kind of claim; each has `part(sweeps) -> Part`."""
