"""Random programs: what scikit-learn's networks and searches do with them, ours do too, to rounding.

A program makes data, settings and weights, and fits: once, again from where it stands, in parts, in a
Pipeline, in a search. Everything public is compared: weights, curves, counts, scores, predictions,
`cv_results_`, warnings, errors and printed lines. tests/support/peer_draws.py draws the programs.

Three things are not drawn. Networks of a search are trained together and not one after the other: so they
cannot draw from NumPy's own generator in turn, with random_state=None, nor print their epochs in turn. And
of lbfgs SciPy prints nothing, or in another form, as its version is.
"""

import re

import pytest
from peer_draws import draw_program
from peer_runs import OURS, PEERS, ROUNDED, as_script, differences, run, words

SEED = 27
FAST, SLOW, ALL = 12, 60, 500
# Numbers may differ by so much, relative or absolute.
TOLERANCES = {"float64": 1e-8, "float32": 1e-4}
# Rounding decides where two runs of scikit-learn that differ in it alone come to differ by so much of the
# tolerance.
AMPLIFIED = 1e-2
# Epochs over which a program must agree even where rounding decides in the end.
FEW = 2
# Where scikit-learn stops by an error that ours does not make: the words of its error or warning, and why.
# The statements before are compared all the same.
OWN_ERRORS = {
    "unsupported operand type(s) for -: 'nonetype' and 'float'": "a warm start without early_stopping after "
    "one with it: scikit-learn compares its best loss, which is None",
    "has no attribute 'loss_curve_'": "a warm start by sgd or adam after lbfgs, which has no loss_curve_",
    "has no attribute 'validation_scores_'": "a warm start with early_stopping after one without",
}
# And where ours stops by an error that scikit-learn does not make.
OUR_ERRORS = {
    "'mlpregressor' has no attribute 'partial_fit'": "with lbfgs: scikit-learn's classifier refuses it, and "
    "its regressor would if it called the method that says so",
}
# And warnings that ours alone gives.
OUR_WARNINGS = {"no validation score was finite": "scikit-learn returns an untrained network in silence"}


def shortened(program):
    """Returns a program with so few epochs that rounding cannot grow."""
    lines = [re.sub(r"max_iter=\d+", f"max_iter={FEW}", line) for line in program]
    return [line.replace("'max_iter': [4, 12]", f"'max_iter': [1, {FEW}]") for line in lines]


def on_scaled_data(program):
    """Returns a program without the statement that takes its inputs out of scale."""
    return [line for line in program if not line.startswith("X = X * np.array")]


def in_float64(program):
    """Returns a program without the statement that makes its inputs float32."""
    return [line for line in program if "float32" not in line]


def tolerance_of(program):
    return TOLERANCES["float32" if any("float32" in line for line in program) else "float64"]


def compared(program):
    """Returns a line for each difference between scikit-learn's run of a program and ours."""
    peer, ours, tolerance = run(program, PEERS), run(program, OURS), tolerance_of(program)
    for step in ours:
        step.warned = {one for one in step.warned if not any(text in one[1] for text in OUR_WARNINGS)}
    last = min(stops_at(peer, OWN_ERRORS), stops_at(ours, OUR_ERRORS))
    return differences(peer[:last], ours[:last], tolerance, tolerance)


def stops_at(steps, errors):
    """Returns the number of the first step that raises one of the errors, or warns of it; or how many."""
    for number, step in enumerate(steps):
        said = [*(text for _, text in step.warned), words(step.error)]
        if any(error in text for error in errors for text in said):
            return number
    return len(steps)


def rounding_decides(program):
    """Returns whether scikit-learn's own result is another where it rounds otherwise."""
    small = AMPLIFIED * tolerance_of(program)
    return bool(differences(run(program, PEERS), run(program, ROUNDED), small, small, texts=False))


def compared_while_rounding_is_small(program):
    """Returns the differences of a program; of a chaotic one, such as that of unscaled data, while it is not.

    Where rounding decides at last, the first epochs must agree. Where it decides already there, those on
    scaled data and then those in float64 must: in float32 a gradient may be 0 or next to it as it is
    rounded, and Adam takes a whole step along either.
    """
    for milder in (shortened, on_scaled_data, in_float64):
        found = compared(program)
        if not found or not rounding_decides(program):
            return found, program
        program = milder(program)
    return compared(program), program


def programs():
    for number in range(ALL):
        marks = [] if number < FAST else [pytest.mark.slow] if number < SLOW else [pytest.mark.nightly]
        yield pytest.param(number, marks=marks)


@pytest.mark.sampled(2)
@pytest.mark.slow
@pytest.mark.parametrize("number", programs())
def test_a_random_program_does_what_it_does_in_scikit_learn(number):
    found, program = compared_while_rounding_is_small(draw_program(SEED, number))
    assert not found, "\n".join(["", *found, "", as_script(program, "ours")])


DATA = [
    "rng = np.random.default_rng(0)",
    "X = rng.standard_normal((30, 3))",
    "y = (X[:, 0] > 0).astype(int)",
    "net = {'hidden_layer_sizes': (4,), 'max_iter': 15, 'tol': 0.1, 'n_iter_no_change': 2}",
]
# What few draws do.
RARE = {
    "two fits draw from one generator": [
        "random = np.random.RandomState(0)",
        "model = MLPClassifier(**net, batch_size=7, random_state=random).fit(X, y)",
        "model = MLPClassifier(**net, random_state=random).fit(X, y)",
        "model = MLPClassifier(**net, early_stopping=True, random_state=random).fit(X, y)",
        "found = random.random_sample(3)",
    ],
    "partial_fit goes on with its optimizer": [
        "model = MLPClassifier(**net, random_state=0)",
        "model.partial_fit(X, y, classes=[0, 1])",
        "model.set_params(learning_rate_init=0.1, solver='sgd')",
        "model.partial_fit(X, y)",
        "model.fit(X, y)",
        "model.set_params(momentum=0.1).partial_fit(X, y)",
    ],
}


@pytest.mark.nightly
@pytest.mark.parametrize("program", RARE.values(), ids=RARE)
def test_a_rare_program_does_what_it_does_in_scikit_learn(program):
    found = compared([*DATA, *program])
    assert not found, "\n".join(["", *found, "", as_script([*DATA, *program], "ours")])
