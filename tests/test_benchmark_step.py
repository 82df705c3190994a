"""`python -m benchmarks step`: what it says of a step, good or bad. No test asserts a time."""

import itertools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import benchmarks.__main__
from benchmarks import step
from benchmarks.measure import spread
from benchmarks.opponents import numpy_loop
from benchmarks.problems import problems, rows_of, training_cost
from benchmarks.step_contract import Step, begin_of, check_step, layout_of, load
from benchmarks.step_programs import compiled, orders_of, program_of_core, program_of_step

pytestmark = pytest.mark.slow
EXAMPLE = f"{Path(__file__).parents[1]}/examples/research/my_step.py:step"
TUTORIAL, DROPOUT, CANCER, DIGITS = problems()
QUICK = ["--beside", "core", "--counts", "2", "--seconds", "0.01", "--repeats", "2"]

# A step in another layout, by itself: weights `(fan_in, fan_out)` in a dict of all layers.
OTHER_LAYOUT = """
import jax, jax.numpy as jnp

def init(key, layer_sizes):
    found = {}
    for i, (m, n) in enumerate(zip(layer_sizes, layer_sizes[1:])):
        found[f"W{i}"] = jax.random.normal(jax.random.fold_in(key, i), (m, n)) * m**-0.5
        found[f"b{i}"] = jnp.zeros(n)
    return found

def step(params, hparams, x, y, key):
    def cost(params):
        h, last = x, len(params) // 2 - 1
        for i in range(last + 1):
            h = h @ params[f"W{i}"] + params[f"b{i}"][None]
            h = jax.nn.relu(h) if i < last else h
        loss = jnp.mean(jnp.logaddexp(0.0, h[:, 0]) - y * h[:, 0])
        squares = sum(jnp.sum(params[f"W{i}"] ** 2) for i in range(last + 1))
        return loss + LAMBDA / (2 * hparams["num_train"]) * squares
    grads = jax.grad(cost)(params)
    return {k: params[k] - hparams["learning_rate"] * grads[k] for k in params}
"""

PLAIN = "def step(params, hparams, x, y, key):\n    "
BAD = {
    "no colon": (None, "my_step", "step must be module:function, got 'my_step'"),
    "no module": (None, "no_such_module:step", "must be in a module that can be imported, got no_"),
    "no file": (None, "no_such_file.py:step", "FileNotFoundError: no file no_such_file.py"),
    "syntax": ("def step(:\n", None, "can be imported, got .*: SyntaxError"),
    "exits": ("import sys\nsys.exit(3)\n", None, "can be imported, got .*: SystemExit: 3"),
    "no function": ("def stepp(): pass\n", None, "got 'step'; did you mean stepp?"),
    "not callable": ("step = 3\n", None, "step must be a function, got 3"),
    "signature": (
        "def step(params, x, y):\n    return params\n",
        None,
        r"step must take \(params, hparams, x, y, key\), got \(params, x, y\)",
    ),
    "signature of init": (
        "def init(key): pass\n" + PLAIN + "return params\n",
        None,
        r"init must take \(key, layer_sizes\), got \(key\)",
    ),
    "init fails": (
        "def init(key, layer_sizes):\n    return layer_sizes[9]\n" + PLAIN + "return params\n",
        None,
        r"init must draw parameters for layers \(2, 20, 3, 1\), got IndexError: .* at bad.py:2, 'return",
    ),
    "init of words": (
        "def init(key, layer_sizes):\n    return ['w']\n" + PLAIN + "return params\n",
        None,
        r"init must return a pytree of arrays, got \['w'\]",
    ),
    "init of nothing": (
        "def init(key, layer_sizes):\n    return []\n" + PLAIN + "return params\n",
        None,
        r"init must return a pytree of arrays, got \[\]",
    ),
    "structure": (
        PLAIN + "return params, 0\n",
        None,
        r"takes them, tuple with the arrays \[0\].w, .*, got tuple with the arrays \[0\]\[0\].w, .*, \[1\]$",
    ),
    "no return": (PLAIN + "params\n", None, "params as it takes them, tuple with the arrays .*, got None$"),
    "shape": (
        "import jax\n" + PLAIN + "return jax.tree.map(lambda p: p[:1], params)\n",
        None,
        r"params\[0\].w float32\[20, 2\], got float32\[1, 2\]",
    ),
    "dtype": (
        "import jax\n" + PLAIN + "return jax.tree.map(lambda p: p.astype('bfloat16'), params)\n",
        None,
        r"params\[0\].w float32\[20, 2\], got bfloat16\[20, 2\]",
    ),
    "if": (
        PLAIN + "if y[0] > 0:\n        return params\n    return params\n",
        None,
        r"by jax.jit, got Python that asks .* at bad.py:2, 'if y\[0\] > 0:': use jnp.where",
    ),
    "float": (PLAIN + "float(x[0, 0])\n    return params\n", None, "of a traced array at bad.py:2"),
    "NumPy": ("import numpy as np\n" + PLAIN + "np.sin(x)\n    return params\n", None, "array at bad.py:3"),
    "name": (PLAIN + "return hparams['rate']\n", None, "by jax.jit, got KeyError: 'rate' at bad.py:2"),
    "vmap": (
        "import jax\n@jax.custom_batching.custom_vmap\ndef same(x):\n    return x\n"
        "@same.def_vmap\ndef rule(size, mapped, x):\n    raise ValueError('no rule')\n"
        + PLAIN
        + "return jax.tree.map(same, params)\n",
        None,
        "step must be mapped over networks by jax.vmap, got ValueError: no rule at bad.py:7",
    ),
}  # fmt: skip


def written(tmp_path, source, name="bad.py"):
    path = tmp_path / name
    path.write_text(source)
    return f"{path}:step"


def compared(problem, spec):
    found = load(spec)
    layout = layout_of(check_step(found, problem), problem.layer_sizes)
    return step.compare(problem, found, layout), layout


@pytest.mark.parametrize("what", BAD)
def test_a_bad_step_is_one_line_before_anything_is_compiled(what, tmp_path, capsys, monkeypatch):
    source, spec, words = BAD[what]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(step, "compare", lambda *_: pytest.fail("it is compiled"))
    spec = spec or written(tmp_path, source)
    assert benchmarks.__main__.main(["step", spec, *QUICK]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("python -m benchmarks step: ")
    assert re.search(words, err), err


def test_unknown_options_are_refused(capsys):
    for words in (["--problem", "nothing"], ["--counts", "3"], ["--repeats", "0"], ["--seconds", "0"]):
        with pytest.raises(SystemExit, match="2"):
            step.main([EXAMPLE, *words])
    assert "--repeats must be at least 1" in capsys.readouterr().err


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "problem",
    [TUTORIAL, *(pytest.param(problem, marks=pytest.mark.slow) for problem in (CANCER, DIGITS))],
    ids=lambda problem: problem.name,
)
def test_the_example_reaches_the_costs_of_regjax(problem):
    found, layout = compared(problem, EXAMPLE)
    assert found.agrees
    assert found.difference is not None
    assert found.difference < 1e-5
    assert (found.steps, found.networks, found.finite) == (20, 4, True)
    assert step.agreement_line(found, layout).startswith("the costs agree after 20 steps of 4 networks")


def test_the_step_of_the_docs_reaches_them_too(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    [source] = re.findall(r"```python\n(.*?def step\(.*?)```", page, re.DOTALL)
    assert compared(TUTORIAL, written(tmp_path, source))[0].agrees


@pytest.mark.parametrize(("penalty", "agrees"), [("hparams['l2']", True), ("0.0", False), ("2.5", False)])
def test_another_layout_begins_from_the_same_weights_and_its_objective_is_checked(tmp_path, penalty, agrees):
    found, layout = compared(CANCER, written(tmp_path, OTHER_LAYOUT.replace("LAMBDA", penalty)))
    assert layout is not None
    assert layout.inputs_first
    assert found.agrees is agrees
    assert ("another training cost" in step.agreement_line(found, layout)) is not agrees


def test_where_units_are_dropped_the_means_are_compared(tmp_path):
    short = DROPOUT._replace(check_steps=50)
    found, _ = compared(short, EXAMPLE)  # which drops none: near enough in so few steps, but not the same
    assert (found.steps, found.networks) == (50, 16)
    assert found.difference is not None
    assert found.agrees is (found.difference <= 0.1)
    assert found.difference > 1e-4


MOMENTUM = """
import jax, jax.numpy as jnp
from regjax.core.mlp import init_params

def init(key, layer_sizes):
    params = init_params(key, layer_sizes)
    return params, jax.tree.map(jnp.zeros_like, params), jnp.int32(0)

def step(state, hparams, x, y, key):
    params, velocity, count = state
    return params, velocity, count + 1
"""


def test_a_state_beside_the_weights_is_timed_and_not_compared(tmp_path, capsys):
    spec = written(tmp_path, MOMENTUM)
    assert step.main([spec, *QUICK, "--out", str(tmp_path / "r.json")]) == 0
    assert "costs were not compared: params hold more than" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["agreement"]["agrees"] is None
    assert [cell["name"] for cell in found["cells"]] == ["yours", "regjax.core"]


def test_parameters_that_are_not_finite_are_said(tmp_path, capsys):
    soon = PLAIN + "return jax.tree.map(lambda p: p * 1e30, params)\n"
    assert step.main([written(tmp_path, "import jax\n" + soon), *QUICK]) == 1
    assert "yours is not finite after 20 steps of 4 networks" in capsys.readouterr().out
    # Finite after the 20 steps that are compared, and infinite after the 32 that are timed at the least.
    late = PLAIN + "return jax.tree.map(lambda p: p * 30, params)\n"
    assert step.main([written(tmp_path, "import jax\n" + late), *QUICK]) == 1
    out = capsys.readouterr().out
    assert "yours reaches another training cost" in out
    assert "yours is not finite after the timed steps" in out


def test_a_run_prints_and_writes_every_figure(tmp_path, capsys):
    assert benchmarks.__main__.main(["step", EXAMPLE, *QUICK, "--out", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    assert "tutorial, 2-20-3-1, 211 samples, batch of all" in out
    assert "\n2 networks\n" in out
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["agreement"]["agrees"] is True
    assert {"versions", "device", "cores", "date"} <= set(found)
    yours, core = found["cells"]
    assert (yours["name"], core["name"], yours["networks"]) == ("yours", "regjax.core", 2)
    assert yours["ratio"] is None
    for of in (yours["us"], core["us"], core["ratio"], yours["call_us"], yours["compile_s"]):
        assert len(of["all"]) == 2
        assert 0 < of["min"] <= of["median"] <= of["max"]
    ratios = [a / b for a, b in zip(yours["us"]["all"], core["us"]["all"], strict=True)]
    assert core["ratio"]["all"] == pytest.approx(ratios)
    assert yours["temp_bytes"] > 0


@pytest.mark.nightly
def test_a_run_beside_a_sweep(tmp_path):
    words = ["--counts", "2", "1", "--seconds", "0.01", "--repeats", "1", "--out", str(tmp_path / "r.json")]
    assert step.main([EXAMPLE, *words]) == 0
    cells = json.loads((tmp_path / "r.json").read_text())["cells"]
    names = ["yours", "regjax.core", "regjax"]
    assert [(c["networks"], c["name"]) for c in cells] == [(n, name) for n in (1, 2) for name in names]
    assert cells[2]["call_us"] is cells[2]["temp_bytes"] is None


def test_steps_that_take_no_time_are_not_more_than_a_program_counts(tmp_path, capsys):
    assert benchmarks.__main__.main(["step", written(tmp_path, PLAIN + "return params\n"), *QUICK]) == 0
    assert "another training cost" in capsys.readouterr().out


def test_what_is_not_known_is_a_dash():
    us = spread([1.0, 3.0])
    cells = [
        step.Cell("yours", 1, None, None, us, us, None, False),
        step.Cell("regjax", 1, us, None, None, spread([2.0]), None, None),
    ]
    title, header, yours, sweep, last = step.lines(cells)
    assert title == "1 network"
    assert "yours ÷ it" in header
    assert "drowns in the noise" in yours
    assert yours.split("  ")[1].strip() == "yours"
    assert re.split(r"\s{2,}", sweep.strip()) == ["regjax", "2 (1 to 3)", "–", "–", "2", "–"]
    assert "not finite after the timed steps" in last


# ---- The programs


def test_networks_are_those_of_numpy_by_hand():
    rows = rows_of(TUTORIAL, 16)
    found = load(EXAMPLE)
    layout = layout_of(begin_of(found, TUTORIAL), TUTORIAL.layer_sizes)
    by_hand = numpy_loop(TUTORIAL, rows)
    assert by_hand.params is not None
    theirs = training_cost(TUTORIAL, rows, by_hand.params(by_hand.run(30)))
    for program in (program_of_step(TUTORIAL, rows, found, layout), program_of_core(TUTORIAL, rows)):
        prepared = compiled(program)[0].prepared
        assert prepared.params is not None
        ours = training_cost(TUTORIAL, rows, prepared.params(prepared.run(30)))
        np.testing.assert_allclose(ours, theirs, rtol=2e-5)


def noisy(params, hparams, x, y, key):
    """A step whose result shows its key, its batch and its hyperparameters."""
    draw = jax.random.normal(key)
    seen = jnp.sum(x) + jnp.sum(y)
    change = 1e-3 * draw + 1e-4 * seen * hparams["learning_rate"] + 1e-5 * hparams["l2"]
    return jax.tree.map(lambda p: p + change + 1e-6 * hparams["num_train"], params)


def test_a_network_sees_its_own_key_batch_and_hyperparameters():
    rows, steps, network = rows_of(CANCER, 16), 20, 5  # 17 steps are an epoch
    asked = Step("here:noisy", noisy, load(EXAMPLE).init)
    layout = layout_of(begin_of(asked, CANCER), CANCER.layer_sizes)
    program = program_of_step(CANCER, rows, asked, layout)
    loop = jax.tree.leaves(compiled(program)[0].prepared.run(steps))
    state, call = program.begin, jax.jit(program.call)
    for i in range(steps):
        state = call(state, program.shared, np.int32(i))
    orders, key = np.asarray(orders_of(CANCER)), jax.random.split(jax.random.key(0), 16)[network]
    alone = jax.tree.map(lambda leaf: leaf[network], program.begin)
    hparams = {
        "learning_rate": rows.learning_rate[network],
        "l2": rows.l2[network],
        "num_train": np.float32(len(CANCER.x)),
    }
    for i in range(steps):
        chosen = orders[i // 17][i % 17 * 32 : (i % 17 + 1) * 32]
        x, y = jnp.asarray(CANCER.x[chosen]), jnp.asarray(CANCER.y[chosen], jnp.float32)
        alone = noisy(alone, hparams, x, y, jax.random.fold_in(key, i))
    for ours, called, expected in zip(loop, jax.tree.leaves(state), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(ours[network], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(called, ours, rtol=1e-5, atol=1e-6)
    assert sorted(orders[0]) == list(range(len(CANCER.x)))


def as_pairs(w, b):
    return list(zip(w, b, strict=True))


LAYOUTS = {
    "pairs": as_pairs,
    "dicts": lambda w, b: [{"w": w, "b": b} for w, b in zip(w, b, strict=True)],
    "one kind after the other": lambda w, b: (w, b),
    "one dict": lambda w, b: {f"{k}{i}": v for k, of in (("W", w), ("b", b)) for i, v in enumerate(of)},
    "transposed": lambda w, b: as_pairs([v.T for v in w], b),
    "flat biases": lambda w, b: as_pairs(w, [v[:, 0] for v in b]),
    "transposed, row biases": lambda w, b: as_pairs([v.T for v in w], [v.T for v in b]),
}


@pytest.mark.parametrize(
    "sizes", [p.layer_sizes for p in (TUTORIAL, CANCER, DIGITS)] + [(2, 1), (4, 4, 4, 3)]
)
@pytest.mark.parametrize("name", LAYOUTS)
def test_parameters_are_read_where_they_were_written(name, sizes):
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(sizes))
    w, b = [rng.normal(size=(n, m)) for m, n in pairs], [rng.normal(size=(n, 1)) for _, n in pairs]
    tree = LAYOUTS[name](w, b)
    layout = layout_of(tree, sizes)
    assert layout is not None
    networks = [
        (v[None].astype(np.float32), c[None, :, 0].astype(np.float32)) for v, c in zip(w, b, strict=True)
    ]
    leaves = layout.leaves(networks)
    for leaf, own in zip(leaves, jax.tree.leaves(tree), strict=True):
        np.testing.assert_array_equal(leaf[0], own.astype(np.float32))
    for (v, c), (own_w, own_b) in zip(layout.params(leaves), networks, strict=True):
        np.testing.assert_array_equal(v, own_w)
        np.testing.assert_array_equal(c, own_b)


def test_other_parameters_have_no_layout():
    w = np.zeros((3, 2))
    for tree in (
        [w],
        [(w, np.zeros(2))],
        [(w, np.zeros(3)), (w, np.zeros(3))],
        [(w, np.zeros(3), np.zeros(1))],
    ):
        assert layout_of(tree, (2, 3)) is None
