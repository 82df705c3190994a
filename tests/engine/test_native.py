"""Segments by the native kernel: against the plain program, whatever the chunk, and whole sweeps by it."""

import concurrent.futures
import itertools
import json
import platform

import jax
import numpy as np
import pytest
from chunks import TOLERANCE, assert_close, assert_same_states, make_chunk, native, plain
from compilers import WRITES, script
from stores import make_design, stop_after

import regjax
from regjax.core.config import Config
from regjax.core.hparams import ABSENT, PENALISED, without
from regjax.engine import measures, pace, scheduler, sweep, tasks
from regjax.engine import native as module
from regjax.engine.lanes import run_task
from regjax.engine.packing import Chunk, Wave, Waves
from regjax.engine.replay import replay
from regjax.native import build, library
from regjax.store.store import Store
from regjax.study import plan
from regjax.study.groups import native_shape
from regjax.study.plan import make_plan
from regjax.study.provenance import loop_of

NOT_THERE = "native kernel cannot be built or loaded"
pytestmark = [pytest.mark.bits, pytest.mark.cpu("the native kernel is of CPUs")]

STEPS = 20
# The kernel's pieces: layers in tiles of 8, 4, 2 and 1 units, gradients by sums and by products, the first
# two layers in one pass, blocks that are not full.
CASES = [
    ({"layer_sizes": (2, 20, 3, 1)}, {}),
    ({"layer_sizes": (2, 20, 3, 1)}, {"keep_prob": 0.8, "l1": 0.3}),
    ({"layer_sizes": (5, 19, 1), "activation": "tanh"}, {"input_keep_prob": 0.8, "keep_prob": 0.9}),
    ({"layer_sizes": (3, 40, 33, 3), "batch_size": 7, "optimizer": "nesterov"}, {"keep_prob": 0.8}),
    ({"layer_sizes": (4, 6, 7, 3), "activation": "sigmoid", "optimizer": "adamw"},
     {"learning_rate": 0.01, "weight_decay": 0.1}),
]  # fmt: skip
MORE_CASES = [
    ({"layer_sizes": (3, 1)}, {}),
    ({"layer_sizes": (1, 4, 4)}, {"keep_prob": 0.5}),
    ({"layer_sizes": (4, 5, 4, 4, 2), "optimizer": "momentum"}, {"momentum": 0.5}),
    ({"layer_sizes": (2, 6, 1), "activation": "identity"}, {"keep_prob": 0.8}),
    ({"layer_sizes": (2, 6, 1), "activation": "identity", "batch_size": 5, "shuffle": False}, {}),
    ({"layer_sizes": (9, 70, 17, 1), "optimizer": "adam", "batch_size": 20}, {"learning_rate": 0.01}),
    ({"layer_sizes": (3, 4, 1), "schedule": "cosine", "warmup_steps": 5, "decay_steps": 15},
     {"end_fraction": 0.2}),
    ({"layer_sizes": (3, 4, 1), "schedule": "exponential", "decay_steps": 15}, {"decay_rate": 0.3}),
    ({"layer_sizes": (3, 4, 1), "warmup_steps": 30}, {}),
    ({"layer_sizes": (3, 4, 3), "class_weight": "balanced"}, {}),
]  # fmt: skip


def check(config, values, *, tolerance=TOLERANCE, **options):
    config = regjax.Config(num_steps=STEPS, **config)
    chunk = make_chunk(config, **options, **values)
    found = native(chunk, config, STEPS)
    assert_close(plain(chunk, config, STEPS), found, tolerance)
    assert any(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (found, chunk.states)), strict=True))


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize(("config", "values"), CASES)
def test_it_trains_as_the_plain_program(config, values, kernel):
    kernel()
    check(config, values)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize(("config", "values"), MORE_CASES)
def test_it_trains_as_the_plain_program_in_all_its_parts(config, values, kernel):
    kernel()
    check(config, values, shared=False)
    check(config, values, n=64, x_per_fold=True)


@pytest.mark.nightly
def test_batches_that_no_cache_holds(kernel):
    """More samples than are in work together, see `Network::at_once`; the same gradient, added in parts."""
    kernel()
    check({"layer_sizes": (3, 40, 8, 1)}, {"keep_prob": 0.8}, n=3000, tolerance=1e-5)
    check({"layer_sizes": (2, 70, 3, 1)}, {}, n=3000, tolerance=1e-5)


@pytest.mark.parametrize("loss", ["squared_error", pytest.param("poisson", marks=pytest.mark.slow)])
def test_real_targets(loss, kernel):
    kernel()
    config = regjax.Config(layer_sizes=(3, 5, 2), loss=loss, num_steps=STEPS)
    chunk = make_chunk(config, real=True, learning_rate=0.05)
    if loss == "poisson":
        chunk = chunk._replace(replicates=chunk.replicates._replace(y=chunk.replicates.y**2))
    assert_close(plain(chunk, config, STEPS), native(chunk, config, STEPS))


@pytest.mark.nightly
@pytest.mark.parametrize("case", [CASES[0], *(pytest.param(c, marks=pytest.mark.slow) for c in CASES[1:])])
def test_in_float64_it_agrees_to_more_digits(case, kernel, x64):
    kernel("float64")
    check(case[0] | {"dtype": "float64"}, case[1], tolerance=1e-13)


def random_case(rng):
    """Returns a config and hyperparameters, any of which the kernel knows."""
    depth = rng.integers(0, 4)
    outputs = int(rng.integers(1, 5))
    sizes = (rng.integers(1, 9), *rng.choice([1, 2, 3, 4, 5, 8, 15, 16, 17, 33], depth), outputs)
    config = {
        "layer_sizes": tuple(map(int, sizes)),
        "activation": str(rng.choice(["relu", "tanh", "sigmoid", "identity"])),
        "optimizer": str(rng.choice(["sgd", "momentum", "nesterov", "adam", "adamw"])),
        "batch_size": None if rng.random() < 0.5 else int(rng.integers(1, 20)),
        "schedule": str(rng.choice(["constant", "cosine", "exponential"])),
        "warmup_steps": int(rng.integers(0, 2) * 4),
        "shuffle": bool(rng.random() < 0.8),
        "class_weight": str(rng.choice(["balanced"])) if rng.random() < 0.2 else None,
    }
    adaptive = config["optimizer"] in ("adam", "adamw")
    values = {"learning_rate": 0.003 if adaptive else 0.05, "l1": float(rng.choice([0, 0.2]))}
    values |= {"keep_prob": 0.7} if rng.random() < 0.5 and depth else {}
    values |= {"input_keep_prob": 0.8} if rng.random() < 0.3 else {}
    return config, values


@pytest.mark.nightly
@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=pytest.mark.slow if s < 10 else pytest.mark.nightly) for s in range(40)]
)
def test_random_networks_train_as_by_the_plain_program(seed, kernel):
    kernel()
    rng = np.random.default_rng(seed)
    config, values = random_case(rng)
    # Adam divides by the gradient's size: where that is tiny, its rounding is not.
    adaptive = config["optimizer"] in ("adam", "adamw")
    tolerance = 10 * TOLERANCE if adaptive else TOLERANCE
    n = int(rng.integers(40, 90))
    check(config, values, n=n, shared=bool(rng.random() < 0.5), tolerance=tolerance)


@pytest.mark.nightly
def test_networks_diverge_as_by_the_plain_program(kernel):
    kernel()
    rates = np.array([[1e30, 0.1, 1e4]])
    for optimizer in ("sgd", "momentum", "adam"):
        config = regjax.Config(layer_sizes=(2, 6, 1), optimizer=optimizer, num_steps=STEPS)
        chunk = make_chunk(config, 1, 3, each={"learning_rate": rates})
        one, other = plain(chunk, config, STEPS), native(chunk, config, STEPS)
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
            np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
            np.testing.assert_allclose(a[:, 1], b[:, 1], rtol=0, atol=TOLERANCE)  # beside them


# -- no bit depends on anything but the network -------------------------------------------------------------


def lane_of(chunk, i, j, shared):
    """Returns a chunk of one lane of another, which is shared."""
    replicates = chunk.replicates
    lead = (1,) if shared else (1, 1)
    own = {name: getattr(replicates, name)[i].reshape(*lead, -1) for name in ("key", "train")}
    pick = jax.tree.map(lambda leaf: leaf[i : i + 1, j : j + 1], (chunk.hparams, chunk.states))
    return chunk._replace(replicates=replicates._replace(**own), hparams=pick[0], states=pick[1])


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(s, marks=pytest.mark.slow) for s in range(4, 40))]
)
def test_no_bit_depends_on_the_chunk_or_on_the_cuts(seed, kernel):
    """Lanes in chunks of all shapes, alone, in another order, in threads, and in segments: the same bits."""
    rng = np.random.default_rng(seed)
    config, values = random_case(rng)
    kernel()
    config = regjax.Config(num_steps=STEPS, **config)
    slots, lanes = (int(rng.integers(1, 4)) for _ in range(2))
    chunk = make_chunk(config, slots, lanes, n=int(rng.integers(40, 90)), **values)
    whole = native(chunk, config, STEPS)
    cuts = [0, *sorted(rng.integers(1, STEPS, 2)), STEPS]

    def alone(place):
        i, j = place
        one = lane_of(chunk, i, j, shared=bool((i + j) % 2))
        for start, stop in itertools.pairwise(cuts):
            one = one._replace(states=native(one, config, int(stop), int(start)))
        return one.states

    places = list(itertools.product(range(slots), range(lanes)))
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        states = list(pool.map(alone, places))
    for (i, j), found in zip(places, states, strict=True):
        assert_same_states(jax.tree.map(lambda leaf, i=i, j=j: leaf[i : i + 1, j : j + 1], whole), found)
    replicates = chunk.replicates
    backwards = chunk._replace(
        replicates=replicates._replace(key=replicates.key[::-1], train=replicates.train[::-1]),
        hparams=jax.tree.map(lambda leaf: leaf[::-1, ::-1], chunk.hparams),
        states=jax.tree.map(lambda leaf: leaf[::-1, ::-1], chunk.states),
    )
    turned = native(backwards, config, STEPS)
    assert_same_states(whole, jax.tree.map(lambda leaf: leaf[::-1, ::-1], turned))


def test_the_states_that_it_is_given_are_not_changed(kernel):
    kernel()
    config = regjax.Config(layer_sizes=(2, 3, 1), num_steps=STEPS, optimizer="adam")
    chunk = make_chunk(config)
    before = jax.tree.map(np.copy, chunk.states)
    native(chunk, config, STEPS)
    assert_same_states(before, chunk.states)


# -- whole sweeps -------------------------------------------------------------------------------------------

CONFIG = {"hidden": (5,), "num_steps": 60, "eval_every": 10, "metrics": ("accuracy",)}
GRID = [
    {"learning_rate": rate, "l2": 0.7, "keep_prob": keep, "patience": 20}
    for rate, keep in [(0.1, 0.9), (0.5, 0.9), (1.5, 0.7), (1e30, 0.9)]
]


def run(store=None, grid=GRID, kernel="native", **options):
    options = {"seeds": 2, "folds": 2, "progress": False} | options
    return regjax.sweep("two_regions", CONFIG, grid, store=store, kernel=kernel, **options)


def loops(results):
    return {loop_of(said) for said in results.provenance}


@pytest.mark.nightly
def test_a_sweep_ends_and_stops_as_by_xla(kernel):
    kernel()
    plain, found = run(kernel="xla"), run()
    assert (loops(plain), loops(found)) == ({"plain"}, {"native"})
    said = json.loads(found.provenance[0])["kernel"]
    assert "-O3" in said
    assert build.source_digest() in said
    for name in plain.records:
        most = 0.03 if "accuracy" in name else 2e-5  # a sample on the boundary may change sides
        np.testing.assert_allclose(plain.records[name], found.records[name], rtol=0, atol=most)
    np.testing.assert_array_equal(plain.stopped_at, found.stopped_at)
    np.testing.assert_array_equal(plain.diverged_at, found.diverged_at)
    assert 0 < (found.stopped_at >= 0).sum() < len(found)
    assert 0 < (found.diverged_at >= 0).sum() < len(found)


@pytest.mark.slow
def test_parameters_do_not_depend_on_neighbours_or_workers(kernel):
    kernel()
    whole = run(grid=GRID[:3], workers=2)
    for index in range(3):
        alone = run(grid=[GRID[index]], workers=1)
        for row in range(4):
            jax.tree.map(np.testing.assert_array_equal, alone.kept[row], whole.kept[4 * index + row])


@pytest.mark.slow
def test_a_stored_sweep_is_resumed_and_replayed_by_the_kernel(tmp_path, monkeypatch, kernel):
    kernel()
    whole, path = run(), tmp_path / "runs.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(pace, "TASK_SECONDS", 1e-9)  # a record per task
        patch.setattr(scheduler, "REPORT_SECONDS", 0)
        for moment in (3, 4):
            with pytest.raises(KeyboardInterrupt):
                run(path, progress=stop_after(moment))
    with Store(path) as store:
        assert store.query("SELECT min(step) FROM checkpoints")[0][0] > 0
    resumed = run(path, kernel="xla")  # a stored sweep goes on as it began
    jax.tree.map(np.testing.assert_array_equal, (whole.records, whole.kept), (resumed.records, resumed.kept))
    again = replay(path, 0)
    assert str(again).endswith("came out as stored, to the bit"), str(again)
    assert again.elsewhere == ()
    # On a machine where it cannot be built, networks are trained by XLA, and what differs is said.
    monkeypatch.setattr(sweep, "find", lambda dtype: library.Found(None, "", "no compiler"))
    monkeypatch.setattr(tasks, "find", lambda dtype: library.Found(None, "", "no compiler"))
    again = replay(path, 0)
    assert "loop was native, here not said" in again.elsewhere


@pytest.mark.slow
def test_the_last_chunks_are_divided_and_no_bit_changes(tmp_path, monkeypatch, kernel):
    kernel()
    grid = [{"learning_rate": rate, "l2": 0.7, "keep_prob": 0.9} for rate in (0.1, 0.2, 0.3, 0.4)]
    options = {"grid": grid, "seeds": 10, "folds": 5, "workers": 12}  # for 8 chunks
    whole, path = run(**options), tmp_path / "runs.sqlite"
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    found, divide = [], Waves.divide
    monkeypatch.setattr(Waves, "divide", lambda *arguments: found.append(divide(*arguments)) or found[-1])
    divided = run(**options)
    assert any(found)
    jax.tree.map(np.testing.assert_array_equal, (whole.records, whole.kept), (divided.records, divided.kept))
    # A store goes on with what was divided.
    with pytest.raises(KeyboardInterrupt):
        run(path, progress=stop_after(12), **options)
    with Store(path) as store:
        begun = {
            row for (row,) in store.query("SELECT row FROM sweep_rows JOIN checkpoints USING (identity)")
        }
    assert begun
    from_start = set()
    take = scheduler.Scheduler.take

    def noted(self, chunk, task, done):
        from_start.update(row for _, _, row in chunk.places if task.start == 0)
        take(self, chunk, task, done)

    monkeypatch.setattr(scheduler.Scheduler, "take", noted)
    resumed = run(path, **options)
    jax.tree.map(np.testing.assert_array_equal, (whole.records, whole.kept), (resumed.records, resumed.kept))
    assert not from_start & begun


@pytest.mark.slow
def test_a_checkpoint_of_the_kernel_is_not_continued_by_xla(tmp_path, monkeypatch, kernel):
    kernel()
    path = tmp_path / "runs.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(pace, "TASK_SECONDS", 1e-9)
        patch.setattr(scheduler, "REPORT_SECONDS", 0)
        with pytest.raises(KeyboardInterrupt):
            run(path, progress=stop_after(3))
    for part in (sweep, tasks):
        monkeypatch.setattr(part, "find", lambda dtype: library.Found(None, "", "no compiler"))
    resumed = run(path)
    assert loops(resumed) == {"plain"}
    assert not any("before" in json.loads(said) for said in resumed.provenance)


@pytest.mark.slow
def test_a_kernel_that_cannot_be_built_is_one_note(monkeypatch):
    for part in (sweep, tasks):
        monkeypatch.setattr(part, "find", lambda dtype: library.Found(None, "", "no compiler"))
    found = run()
    assert loops(found) == {"plain"}
    (note,) = [note for note in found.notes if "kernel" in note]
    assert (
        note == "trained by programs of XLA, since the native kernel cannot be built or loaded: no compiler"
    )
    assert "native kernel cannot be built or loaded" in str(
        regjax.plan("two_regions", CONFIG, GRID, kernel="native")
    )


def test_what_it_does_not_know_is_trained_by_xla(kernel):
    kernel()
    design = make_design("two_regions", CONFIG, [{"l2": 0.7}, {"ema_decay": 0.9}, {"mixup": 0.2}])
    found = make_plan(design, kernel="native")
    for group, wanted in zip(found.groups, ["native", "plain", "plain"], strict=True):
        task = tasks.task_of(design, group, Chunk(Wave(0), [[0]], 0, None), (10,), (True,))
        assert task.loop == wanted
        assert loop_of(tasks.how(design, group)) == wanted
    assert str(found).count("native kernel") == 1


@pytest.mark.nightly
def test_a_library_that_cannot_be_loaded_is_one_note(tmp_path, monkeypatch):
    """As where the system runs no program from the folder: built once, and training is by XLA."""
    monkeypatch.setenv("CXX", script(tmp_path / "fake", WRITES))
    monkeypatch.setenv("REGJAX_CACHE_DIR", str(tmp_path / "cache"))
    library.find.cache_clear()
    try:
        found = run(grid=GRID[:1])
    finally:
        library.find.cache_clear()
    assert loops(found) == {"plain"}
    (note,) = [note for note in found.notes if "kernel" in note]
    assert f"{tmp_path / 'cache' / 'native'}" in note
    assert "cannot be loaded: " in note


def test_a_task_without_a_library_says_so(monkeypatch):
    monkeypatch.setattr(module, "find", lambda dtype: library.Found(None, "", "no compiler"))
    config = Config(layer_sizes=(2, 1))
    with pytest.raises(RuntimeError, match="must be built where it trains, and is not: no compiler"):
        native(make_chunk(config), config, 1)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="of processors with AVX")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("processor", ["x86-64-v3", "x86-64"])
def test_processors_of_shorter_vectors(processor, dtype, monkeypatch, kernel, x64):
    kernel(dtype)
    monkeypatch.setattr(build, "flags", lambda: (*build.FLAGS, f"-march={processor}"))
    built = build.build(dtype)
    assert f"-march={processor}" in built.how
    found = library.Found(library.load_built(built), built.how, "")
    monkeypatch.setattr(module, "find", lambda dtype: found)
    for config, values in CASES:
        check(config | {"dtype": dtype}, values)


# -- what the plan decides ----------------------------------------------------------------------------------


def planned(monkeypatch, *, built, compiler="c++", steps=10, asked="auto", variable=None):
    monkeypatch.setattr(plan, "is_built", lambda dtype: built)
    monkeypatch.setattr(plan, "compiler", lambda: compiler)
    monkeypatch.delenv("REGJAX_KERNEL", raising=False)
    if variable is not None:
        monkeypatch.setenv("REGJAX_KERNEL", variable)
    design = make_design("two_regions", CONFIG | {"num_steps": steps}, GRID)
    return {group.kernel for group in make_plan(design, workers=2, kernel=asked).groups}


def test_auto_is_native_where_it_is_built_or_pays_for_building(monkeypatch):
    assert planned(monkeypatch, built=False) == {"auto"}
    assert planned(monkeypatch, built=True) == {"native"}
    assert planned(monkeypatch, built=False, steps=30_000_000) == {"native"}
    assert planned(monkeypatch, built=False, steps=30_000_000, compiler=None) == {"auto"}
    assert planned(monkeypatch, built=True, asked="xla") == {"xla"}
    assert planned(monkeypatch, built=False, asked="native") == {"native"}
    assert planned(monkeypatch, built=True, variable="xla") == {"xla"}
    assert planned(monkeypatch, built=False, asked="auto", variable="native") == {"native"}


def test_a_kernel_that_is_unknown_or_elsewhere_is_refused(monkeypatch):
    design = make_design("two_regions", CONFIG, GRID)
    with pytest.raises(ValueError, match="kernel must be one of auto, xla, native, got 'fast'"):
        regjax.plan("two_regions", CONFIG, GRID, kernel="fast")
    with pytest.raises(ValueError, match="kernel must be auto or xla on gpu, got native"):
        make_plan(design, backend="gpu", kernel="native")
    assert {group.kernel for group in make_plan(design, backend="gpu", kernel="xla").groups} == {"xla"}
    monkeypatch.setenv("REGJAX_KERNEL", "fast")
    with pytest.raises(ValueError, match="REGJAX_KERNEL must be one of auto, xla, native, got 'fast'"):
        make_plan(design)


def test_few_networks_have_no_spare_lanes():
    for rows in range(1, 70):
        slots, lanes = native_shape(1, rows, 10_000, shared=False)
        assert slots == 1
        chunks = -(-rows // lanes)
        assert chunks * lanes - rows <= rows / 4
    for replicates, configurations in itertools.product((1, 2, 5, 30), (2, 3, 7, 12, 100)):
        slots, lanes = native_shape(replicates, configurations, 10_000, shared=True)
        assert slots * lanes <= 32
        assert slots <= replicates
        in_slots = -(-configurations // lanes)
        assert in_slots * lanes - configurations < in_slots  # less than a lane for each slot
    assert native_shape(10, 100, 2**26, shared=True) == (1, 2)
    assert native_shape(10, 100, 2**26, shared=False) == (1, 1)


def test_lanes_without_a_row_are_not_trained(kernel):
    kernel()
    config = regjax.Config(layer_sizes=(2, 4, 1), num_steps=STEPS, optimizer="adam")
    chunk = make_chunk(config, 3, 2, learning_rate=0.01, keep_prob=0.8)
    idle = np.array([[True, False], [True, True], [False, False]])
    replicates, hparams, states, num_batches = chunk
    found = module.advance_native(replicates, hparams, states, 0, STEPS, num_batches, idle, config=config)
    for new, whole, old in zip(
        *map(jax.tree.leaves, (found, native(chunk, config, STEPS), states)), strict=True
    ):
        np.testing.assert_array_equal(new[~idle], whole[~idle])
        np.testing.assert_array_equal(new[idle], old[idle])


def penalised(chunk):
    """Returns the hyperparameters that a record reads."""
    return without(chunk.hparams, [name for name in ABSENT if name not in PENALISED])


def seen_by(chunk, rng):
    """Returns the replicates of a chunk with validation and test parts, whose hidden inputs are NaN."""
    replicates = chunk.replicates
    train, (features, n) = replicates.train, np.shape(replicates.x)[-2:]
    val = (rng.random(train.shape) < 0.5) * (train == 0)
    val[..., :4] = 0  # whose inputs are inf and NaN
    test_x = rng.standard_normal((features, n + 3)).astype(replicates.x.dtype)
    test = (rng.random(n + 3) < 0.8).astype(train.dtype)
    test_x[:, test == 0] = np.nan
    test_y = np.resize(replicates.y, (*replicates.y.shape[:-1], n + 3))
    found = replicates._replace(val=val.astype(train.dtype), test_x=test_x, test_y=test_y, test=test)
    return jax.device_put(found)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    "seed",
    [
        *range(2),
        *(pytest.param(s, marks=pytest.mark.slow) for s in range(2, 6)),
        *(pytest.param(s, marks=pytest.mark.nightly) for s in range(6, 40)),
    ],
)
def test_records_are_those_of_xla_and_no_bit_depends_on_the_chunk(seed, kernel):
    kernel()
    rng = np.random.default_rng(seed)
    config, values = random_case(rng)
    config = regjax.Config(num_steps=STEPS, **config)
    chunk = make_chunk(config, 2, 3, n=int(rng.integers(40, 90)), shared=bool(seed % 2), **values)
    hparams = penalised(chunk)
    replicates, params = seen_by(chunk, rng), chunk.states.params
    wanted = measures.measure_lanes(replicates, hparams, params, config=config)
    found = module.measure_native(replicates, hparams, params, config=config)
    assert wanted.keys() == found.keys()
    assert np.all(found["finite"])
    for name, values in wanted.items():
        # A sample on the boundary may change sides.
        most = 0.05 if "accuracy" in name else 1e-5
        np.testing.assert_allclose(found[name], values, rtol=0, atol=most, err_msg=name)
    idle = np.array([[True, False, False], [False, False, True]])
    rest = module.measure_native(replicates, hparams, params, config=config, idle=idle)
    for name, values in found.items():
        np.testing.assert_array_equal(np.asarray(rest[name])[~idle], np.asarray(values)[~idle], err_msg=name)
    own = tuple(getattr(replicates, name)[1:] for name in ("key", "train", "val"))
    alone = replicates._replace(**dict(zip(("key", "train", "val"), own, strict=True)))
    last = jax.tree.map(lambda leaf: leaf[1:], (hparams, params))
    half = module.measure_native(alone, *last, config=config)
    for name, values in found.items():
        np.testing.assert_array_equal(half[name], np.asarray(values)[1:], err_msg=name)


@pytest.mark.nightly
def test_records_of_more_samples_than_the_cache_holds(kernel):
    kernel()
    config = regjax.Config(layer_sizes=(9, 70, 17, 2), num_steps=STEPS)
    chunk = make_chunk(config, 2, 2, n=3_001)
    replicates, params = seen_by(chunk, np.random.default_rng(0)), chunk.states.params
    hparams = penalised(chunk)
    wanted = measures.measure_lanes(replicates, hparams, params, config=config)
    found = module.measure_native(replicates, hparams, params, config=config)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-3 if "accuracy" in name else 1e-5)


@pytest.mark.parametrize(
    ("layer", "leaf", "value"),
    [(0, "w", np.nan), (1, "b", np.nan), (0, "b", -np.inf)],  # the last is hidden by relu: logits are finite
)
def test_records_of_networks_that_diverged_are_none(layer, leaf, value, kernel):
    kernel()
    config = regjax.Config(layer_sizes=(2, 6, 1), num_steps=STEPS)
    chunk = make_chunk(config, 1, 2)
    params = jax.tree.map(np.copy, chunk.states.params)
    getattr(params[layer], leaf)[0, 1, 0, 0] = value
    replicates = seen_by(chunk, np.random.default_rng(0))
    hparams = penalised(chunk)
    found = module.measure_native(replicates, hparams, params, config=config)
    np.testing.assert_array_equal(found["finite"], [[True, False]])
    assert np.isfinite(found["train_loss"][0, 0])
    for name, values in found.items():
        assert name == "finite" or np.isnan(values[0, 1]), name


@pytest.mark.slow
def test_scores_of_examples_are_those_of_xla(kernel):
    kernel()
    config = regjax.Config(layer_sizes=(3, 7, 5, 3), num_steps=STEPS)
    chunk = make_chunk(config, 2, 2)
    replicates, params = seen_by(chunk, np.random.default_rng(0)), chunk.states.params
    wanted = measures.examples_of_lanes(replicates, params, config=config)
    found = module.examples_native(replicates, params, config=config)
    assert wanted.keys() == found.keys()
    seen = np.asarray(replicates.val) > 0
    for name, values in wanted.items():
        for lane in range(2):
            one, other = (np.asarray(v)[:, lane][seen] for v in (found[name], values))
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_first_states_are_those_that_xla_makes(optimizer, kernel):
    kernel()
    design = make_design("two_regions", CONFIG | {"optimizer": optimizer}, GRID, seeds=2)
    (group,) = make_plan(design, kernel="native").groups
    task = tasks.task_of(design, group, Chunk(Wave(0), [[0, 2]], 0, None), (10,), (True,))
    assert task.loop == "native"
    none = task._replace(ends=(), measured=())
    found, wanted = (run_task(none._replace(loop=loop)).states for loop in ("native", "plain"))
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_records_of_all_widths_are_compiled_once(kernel):
    kernel()
    grid = regjax.grid(hidden=[(3,), (8,), (5, 4), (2, 2, 2)])
    measures.record_lanes.clear_cache()
    results = regjax.sweep("two_regions", CONFIG, grid, folds=2, progress=False, kernel="native")
    assert {loop_of(how) for how in results.provenance} == {"native"}
    assert measures.record_lanes._cache_size() == 1


def test_a_chunk_says_which_of_its_lanes_are_spare(kernel):
    kernel()
    design = make_design("two_regions", CONFIG, GRID, seeds=2)
    (group,) = make_plan(design, kernel="native").groups
    group = group._replace(slots=2, lanes=2)
    chunk = Chunk(Wave(0), [[0, 2], [4]], 0, None)
    task = tasks.task_of(design, group, chunk, (10,), (True,))
    np.testing.assert_array_equal(task.idle, [[False, False], [False, True]])
    chunk.finished.add(2)
    task = tasks.task_of(design, group, chunk, (10,), (True,))
    np.testing.assert_array_equal(task.idle, [[False, True], [False, True]])
    full = tasks.task_of(design, group, Chunk(Wave(0), [[0, 2], [4, 6]], 0, None), (10,), (True,))
    assert not full.idle.any()
    plain = tasks.task_of(design, group._replace(kernel="xla"), chunk, (10,), (True,))
    assert not plain.idle
