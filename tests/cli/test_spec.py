"""What a sweep is asked to do: TOML, flags, and that both are the names of Python."""

import dataclasses
import inspect
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import regjax
from regjax.cli import options, spec
from regjax.cli.sweep import sweep
from regjax.cli.values import values_of
from regjax.study.configuration import NAMES
from regjax.study.resolve import make_design
from regjax.study.results import Results


def test_keys_are_the_python_names_and_the_flags_with_dashes():
    keys = {name for names in spec.SECTIONS.values() for name in names}
    assert set(options.FLAGS) == keys
    arguments = set(inspect.signature(regjax.sweep).parameters)
    for method in (Results.best, Results.compare):
        arguments |= set(inspect.signature(method).parameters)
    arguments |= {field.name for field in dataclasses.fields(regjax.Config)} | {"hidden"}
    arguments |= set(NAMES) | {"dropout"}
    assert keys <= arguments
    # What has no key: objects of Python, what the command line does itself, and what `hidden` says.
    python_only = {"self", "config", "grid", "executor", "progress", "layer_sizes", "fold_inputs"}
    python_only |= {"questions"}  # whose fields have keys
    python_only |= {"compilation_cache"}  # a flag of every command, and no key of a sweep
    assert arguments - keys == python_only
    flags = {o for parameter in sweep.params for o in parameter.opts}
    for key in keys:
        assert f"--{key.replace('_', '-')}" in flags


# A value of each key that is not the default, as a flag and as TOML.
EVERY = {
    "data": ("iris", "iris"),
    "task": ("regression", "regression"),
    "columns": ('"a=b, c"=drop,d=category', {"a=b, c": "drop", "d": "category"}),
    "groups": ("patient", "patient"),
    "time": ("year", "year"),
    "weights": ("w", "w"),
    "gaps": ("-999,unknown", ["-999", "unknown"]),
    "separator": (";", ";"),
    "decimal": (",", ","),
    "header": (False, False),
    "test": ("0.25", 0.25),
    "standardize": (True, True),
    "standardize_target": (True, True),
    "hidden": ("8/4", [8, 4]),
    "activation": ("tanh", "tanh"),
    "loss": ("squared_error", "squared_error"),
    "optimizer": ("adam", "adam"),
    "num_steps": ("12", 12),
    "batch_size": ("5", 5),
    "eval_every": ("3", 3),
    "init": ("he", "he"),
    "dtype": ("float64", "float64"),
    "precision": ("high", "high"),
    "learning_rate": ("0.1,0.2", [0.1, 0.2]),
    "l2": ("none,geomspace(0.1,10,3)", [0, 0.1, 1, 10]),
    "l1": ("0.5", 0.5),
    "keep_prob": ("1,0.9/0.8", [1, [0.9, 0.8]]),
    "input_keep_prob": ("linspace(0.5,1,3)", [0.5, 0.75, 1]),
    "momentum": ("0.5", 0.5),
    "b1": ("0.5", 0.5),
    "b2": ("0.5", 0.5),
    "eps": ("1e-6", 1e-6),
    "weight_decay": ("0.5", 0.5),
    "schedule": ("cosine", "cosine"),
    "warmup_steps": ("3", 3),
    "decay_steps": ("9", 9),
    "class_weight": ("balanced", "balanced"),
    "batches": ("all", "all"),
    "shuffle": (False, False),
    "epsilon_hat": (True, True),
    "stop_on": ("loss", "loss"),
    "clip_loss": (True, True),
    "draws": ("sklearn", "sklearn"),
    "metrics": ("accuracy,roc_auc", ["accuracy", "roc_auc"]),
    "tol": ("0.01", 0.01),
    "n_iter_no_change": ("5", 5),
    "power_t": ("0.25", 0.25),
    "end_fraction": ("0.5", 0.5),
    "decay_rate": ("0.5", 0.5),
    "l1_prox": ("0.5,1", [0.5, 1]),
    "group_lasso": ("none,0.5", [0, 0.5]),
    "keep_prob_end": ("0.5", 0.5),
    "gaussian_dropout": ("0.5,0.1/0.2", [0.5, [0.1, 0.2]]),
    "dropconnect_keep_prob": ("0.5", 0.5),
    "input_noise": ("0.5", 0.5),
    "swap_noise": ("0.5", 0.5),
    "mixup": ("0.5", 0.5),
    "label_smoothing": ("0.5", 0.5),
    "confidence_penalty": ("0.5", 0.5),
    "activity_l2": ("0.5", 0.5),
    "adversarial": ("0.5", 0.5),
    "sam": ("0.5", 0.5),
    "clip_norm": ("none,0.5", [float("inf"), 0.5]),
    "max_norm": ("inf,0.5", [float("inf"), 0.5]),
    "ema_decay": ("0.5", 0.5),
    "average_from": ("5", 5),
    "patience": ("none,5", [float("inf"), 5]),
    "embedding_size": ("5", 5),
    "embedding_scale": ("0.5", 0.5),
    "seeds": ("3,5", [3, 5]),
    "folds": ("3", 3),
    "repeats": ("2", 2),
    "pairing": ("independent", "independent"),
    "stopping": ("0.25", 0.25),
    "workers": ("1", 1),
    "kernel": ("xla", "xla"),
    "keep": ("none", "none"),
    "metric": ("val_loss", "val_loss"),
    "rule": ("one_se", "one_se"),
    "allow_diverged": (True, True),
    "baseline": ("l2=0,keep-prob=1", {"l2": 0, "keep_prob": 1}),
    "over": ("learning_rate", ["learning_rate"]),
    "store": ("none", "none"),
}
RIVALS = {"dropout": ("0.2", 0.2), "epochs": ("4", 4), "validation": ("0.2", 0.2), "target": ("a", "a")}
# What scikit-learn's draws refuse.
RIVALS |= {"norm": ("layer", "layer"), "embedding": ("periodic", "periodic"), "members": ("2", 2)}
RIVALS |= {"residual": (True, True)}


def toml_of(keys):
    import tomli_w

    sections = {name: {} for name in spec.SECTIONS}
    for key, value in keys.items():
        config = key in spec.SECTIONS["config"]
        sections["config" if config else spec._section(key)][key] = value
    return tomli_w.dumps(sections)


def test_flags_and_toml_say_the_same_for_every_key(tmp_path):
    assert set(EVERY) | set(RIVALS) == set(options.FLAGS)
    (tmp_path / "all.toml").write_text(toml_of({key: value for key, (_, value) in EVERY.items()}))
    by_flags = spec.resolve(None, {key: text for key, (text, _) in EVERY.items()})
    by_file = spec.resolve(str(tmp_path / "all.toml"), {})
    assert by_flags == by_file
    default = spec.resolve(None, {})
    for key, (text, value) in (EVERY | RIVALS).items():
        # A residual layer stands between two of equal width.
        more = {"hidden": ("4/4", [4, 4])} if key == "residual" else {}
        (tmp_path / "one.toml").write_text(toml_of({key: value} | {k: v for k, (_, v) in more.items()}))
        found = spec.resolve(None, {key: text} | {k: t for k, (t, _) in more.items()})
        assert found == spec.resolve(str(tmp_path / "one.toml"), {}), key
        assert found != default, key  # no key is without effect


def test_the_printed_sweep_asks_for_the_same_sweep(tmp_path):
    everything = {key: text for key, (text, _) in EVERY.items()}
    residual = {"hidden": "4/4,8/8", "residual": RIVALS["residual"][0]}
    for flags in ({}, everything, {"hidden": "20/3,64,none"}, residual):
        found = spec.resolve(None, flags)
        path = tmp_path / "printed.toml"
        path.write_text(spec.as_toml(found))
        again = spec.resolve(str(path), {})
        assert again == found
        assert list(again.grid) == list(found.grid)
        tomllib.loads(spec.as_toml(found))


def test_a_spec_is_the_python_call(tmp_path):
    flags = {"data": "iris", "hidden": "5", "l2": "0,1", "seeds": "2", "folds": "3", "num_steps": "7"}
    by_flags = make_design(**spec.resolve(None, flags).arguments())
    by_hand = make_design(
        "iris", {"hidden": 5, "num_steps": 7}, {"l2": [0, 1]}, seeds=2, folds=3, standardize=True
    )
    assert by_flags.configs == by_hand.configs
    assert by_flags.configurations == by_hand.configurations
    assert by_flags.configs[0].layer_sizes == (4, 5, 3)
    np.testing.assert_array_equal(by_flags.splits.train, by_hand.splits.train)


def test_flags_override_the_file_and_take_rivals_out(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(
        "[config]\nhidden = [9]\nnum_steps = 5\n"
        "[grid]\nl2 = [0, 1]\nkeep_prob = [1, 0.5]\n[sweep]\nfolds = 4\n"
    )
    found = spec.resolve(str(path), {"l2": "3", "hidden": "4,5", "dropout": "0.2"})
    assert found.grid["l2"] == [3.0]
    assert found.grid["keep_prob"] == [0.8]
    assert found.grid["hidden"] == [(4,), (5,)]
    assert "hidden" not in found.config
    found = spec.resolve(str(path), {"validation": "0.3", "epochs": "2"})
    assert "folds" not in found.sweep
    assert "num_steps" not in found.config
    assert spec.resolve(str(path), {"folds": "none"}).sweep.get("folds") is None


def test_standardising_is_on_but_for_data_with_known_results():
    for source, expected in (("two_regions", False), ("x/data.mat", False), ("iris", True), ("a.csv", True)):
        assert spec.resolve(None, {"data": source}).data["standardize"] is expected
    assert spec.resolve(None, {"data": "two_regions", "standardize": True}).data["standardize"] is True


BAD_TOML = [
    ("[grid]\nl3 = [0]", "key of [grid] must be one of", "did you mean l2?"),
    ("[gird]\nl2 = [0]", "section must be one of data, config, grid, sweep", "did you mean grid?"),
    ("[sweep]\nl2 = [0]", "l2 belongs in [grid], got it in [sweep]", ""),
    ("folds = 3", "folds must stand in a section, [sweep]", ""),
    ("grid = 3", "grid must be a section, [grid], got 3", ""),
    ("[grid]\nl2 = ", "must be a TOML file, and could not be read as one", ""),
    ("[grid]\nl2 = []", "l2 must have at least one value, got an empty axis", ""),
    ('[grid]\nl2 = ["much"]', "l2 must be a finite number >= 0, got 'much'", ""),
    ("[grid]\nl2 = [-1]", "l2 must be a finite number >= 0 in float32, got -1", ""),
    ("[grid]\nl2 = true", "l2 must be a finite number >= 0, got True", ""),
    ("[grid]\nkeep_prob = [1]\ndropout = [0]", "keep_prob and dropout must not both be given", ""),
    ("[grid]\nhidden = [3]\n[config]\nhidden = [3]", "hidden must be given once", ""),
    ('[grid]\noptimizer = ["sdg"]', "optimizer must be one of sgd", ""),
    ('[config]\nnum_steps = "many"', "num_steps must be a whole number, got 'many'", ""),
    ("[config]\nnum_steps = 0", "num_steps must be at least 1, got 0", ""),
    ('[config]\nhidden = "3,4"', "hidden must be one network in [config]", ""),
    ("[config]\nhidden = [0]", "hidden must be at least 1, got 0", ""),
    ("[config]\nnum_steps = 3\n[sweep]\nepochs = 3", "num_steps and epochs must not both be given", ""),
    ("[sweep]\nfolds = 3\nvalidation = 0.2", "folds and validation must not both be given", ""),
    ("[grid]\nlr = [0]", "key of [grid] must be one of", "did you mean learning_rate?"),
    ("[grid]\nlambda = [0]", "key of [grid] must be one of", "did you mean l2?"),
    ("[data]\ndata = [1, 2]", "data must be a text, got [1, 2]", ""),
    ("[data]\ntest = [1, 2]", "test must be none, a fraction or a path, got [1, 2]", ""),
    *(
        (f"[data]\n{name} = 3", f"{name} must be a text, got 3", "")
        for name in ("target", "task", "groups", "separator")
    ),
    *(
        (f"[data]\n{name} = 3", f"{name} must be a text, got 3", "")
        for name in ("time", "weights", "decimal")
    ),
    ("[data]\ncolums = 3", "key of [data] must be one of", "did you mean columns?"),
    ('[sweep]\nseeds = "x"', "seeds must be a whole number, got 'x'", ""),
    ("[sweep]\nrule = 3", "rule must be one of mean, one_se, got 3", ""),
    ("[sweep]\nover = 3", "over must be a list of names, got 3", ""),
    ("[sweep]\nbaseline = 3", "baseline must be a table of names and values, got 3", ""),
]


@pytest.mark.parametrize(("text", "words", "more"), BAD_TOML)
def test_bad_toml_names_the_key(text, words, more, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises((TypeError, ValueError)) as raised:
        spec.resolve(str(tmp_path / "bad.toml"), {})
    assert words in str(raised.value)
    assert more in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,,1", "a value between two commas"),
        ("", "a value between two commas"),
        ("1,", "a value between two commas"),
        ("logspace(-4,0,5)", "must use geomspace"),
        ("geomspce(1,2,3)", "did you mean geomspace?"),
        ("geomspace(0,1,3)", "two ends above 0 and a count of 1 to 100,000"),
        ("linspace(0,1)", "two ends and a count of 1 to 100,000"),
        ("linspace(0,1,1e13)", "count of 1 to 100,000"),
        ("linspace(0,1,2.5)", "count of 1 to 100,000"),
    ],
)
def test_bad_values_of_a_flag(text, words):
    with pytest.raises(ValueError, match=words):
        values_of("l2", text)


@given(st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=6))
def test_values_survive_their_text(values):
    assert values_of("l2", ",".join(map(repr, values))) == values


def test_two_networks_of_one_layer_where_one_of_two_was_meant():
    with pytest.raises(ValueError, match=r"got hidden layers \(8,\); a slash separates layers: 8/8$"):
        spec.resolve(None, {"hidden": "8,8", "residual": True})
    with pytest.raises(ValueError, match=r"got hidden layers \(8, 6\)$"):
        spec.resolve(None, {"hidden": "8/6", "residual": True})
