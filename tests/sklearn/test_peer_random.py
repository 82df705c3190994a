"""Random programs: what scikit-learn's networks and searches do with them, ours do too, to rounding.

A program makes data, settings and weights, and fits: once, again from where it stands, in parts, in a
Pipeline, in a search. Everything public is compared: weights, curves, counts, scores, predictions,
`cv_results_`, warnings, errors and printed lines. tests/support/peer_draws.py draws the programs.
"""

import re

import pytest
from peer_draws import draw_program
from peer_runs import OURS, PEERS, ROUNDED, as_script, differences, run

SEED = 27
FAST, SLOW, ALL = 12, 60, 500
# Numbers may differ by so much, relative or absolute.
TOLERANCES = {"float64": 1e-8, "float32": 1e-4}
# Rounding decides where two runs of scikit-learn that differ in it alone come to differ by so much of the
# tolerance.
AMPLIFIED = 1e-2
# Epochs over which a program must agree even where rounding decides in the end.
FEW = 2


def shortened(program: list[str]) -> list[str]:
    """Returns a program with so few epochs and evaluations that rounding cannot grow."""
    lines = [re.sub(r"max_iter=\d+", f"max_iter={FEW}", line) for line in program]
    return [line.replace("'max_iter': [4, 12]", f"'max_iter': [1, {FEW}]") for line in lines]


def rounding_decides(program: list[str], tolerance: float) -> bool:
    """Returns whether scikit-learn's own result is another where its gradients are rounded otherwise."""
    small = AMPLIFIED * tolerance
    return bool(differences(run(program, PEERS), run(program, ROUNDED), small, small, texts=False))


def programs():
    for number in range(ALL):
        marks = [] if number < FAST else [pytest.mark.slow] if number < SLOW else [pytest.mark.nightly]
        yield pytest.param(number, marks=marks)


@pytest.mark.parametrize("number", programs())
def test_a_random_program_does_what_it_does_in_scikit_learn(number):
    program = draw_program(SEED, number)
    tolerance = TOLERANCES["float32" if any("float32" in line for line in program) else "float64"]
    found = differences(run(program, PEERS), run(program, OURS), tolerance, tolerance)
    if found and rounding_decides(program, tolerance):
        # Chaotic training, such as that of unscaled data: equal as long as rounding has not grown.
        program = shortened(program)
        found = differences(run(program, PEERS), run(program, OURS), tolerance, tolerance)
    assert not found, "\n".join(["", *found, "", as_script(program, "ours")])
