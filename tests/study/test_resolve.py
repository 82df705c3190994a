"""From arguments to a design: names, defaults and errors, without training."""

import inspect
import re

import numpy as np
import pytest

import regjax
from regjax.study import resolve
from regjax.study.resolve import make_design


def test_options_defaults_and_documented_arguments_are_the_same():
    names = list(resolve.Options.__annotations__)
    assert list(resolve.DEFAULTS) == names
    for function in (make_design, regjax.sweep, regjax.plan):
        assert set(names) <= set(inspect.signature(function).parameters)
    for name in names:
        assert re.search(rf"^ +{name}: ", regjax.sweep.__doc__, re.MULTILINE), name


def test_an_unexpected_argument_is_a_type_error_with_the_nearest_name():
    with pytest.raises(TypeError, match=r"got 'fold'; did you mean folds\?"):
        make_design("two_regions", fold=2)


def test_the_ends_of_a_mapping_are_fitted_to_the_data():
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6) % 3
    assert make_design((X, y), {"hidden": 4}).configs[0].layer_sizes == (2, 4, 3)
    assert make_design((X, y % 2), {"hidden": "none"}).configs[0].layer_sizes == (2, 1)
    assert make_design((X, X), {"hidden": (4, 3)}).configs[0].layer_sizes == (2, 4, 3, 2)


def test_a_block_must_fit_the_hidden_layers_of_the_configurations_alone():
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6) % 3
    design = make_design((X, y), {"residual": True}, {"hidden": [(4, 4), (3, 3)]})
    assert [config.layer_sizes for config in design.configs] == [(2, 4, 4, 3), (2, 3, 3, 3)]
    for hidden in ([(4, 4), 3], [3, (4, 4)]):
        with pytest.raises(ValueError, match=r"equal width side by side, got hidden layers \(3,\)"):
            make_design((X, y), {"residual": True}, {"hidden": hidden})
    with pytest.raises(ValueError, match=r"equal width side by side, got hidden layers \(20, 3\)"):
        make_design((X, y), {"residual": True}, [{"hidden": (4, 4)}, {"l2": 1}])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"standardize": 1}, TypeError, "standardize must be True, False or None, got 1"),
        ({"standardize_target": 1}, TypeError, "standardize_target must be True, False or None, got 1"),
        ({"standardize_target": True}, ValueError, "standardize_target must be used with real targets, got"),
        ({"groups": [0, 1], "folds": 2}, ValueError, r"groups must have shape \(211,\), got \(2,\)"),
        ({"groups": [0], "test": 0.2}, ValueError, r"groups must have shape \(211,\), got \(1,\)"),
        ({"groups": "a"}, ValueError, "groups must only be given with a table .* got 'a' with two_regions"),
        ({"time": [0, 1], "folds": 2}, ValueError, r"time must have shape \(211,\), got \(2,\)"),
        ({"weights": [1.0]}, ValueError, r"weights must have shape \(211,\), got \(1,\)"),
        ({"weights": 3}, ValueError, r"weights must have shape \(211,\), got \(\)"),
        ({"columns": {"a": "drop"}}, ValueError, "columns must only be given with a table"),
        ({"columns": ["a"]}, TypeError, r"columns must map names of columns to kinds, got \['a'\]"),
        ({"target": 3}, TypeError, "target must be a text, got 3"),
        ({"separator": 3}, TypeError, "separator must be a text, got 3"),
        ({"separator": ";"}, ValueError, "separator must only be given with a table"),
        ({"decimal": 3}, TypeError, "decimal must be a text, got 3"),
        ({"decimal": ","}, ValueError, "decimal must only be given with a table"),
        ({"header": 3}, TypeError, "header must be True, False or None, got 3"),
        ({"header": False}, ValueError, "header must only be given with a table"),
        ({"gaps": "x"}, TypeError, "gaps must be a list of words, got 'x'"),
        ({"gaps": [3]}, TypeError, r"gaps must be a list of words, got \[3\]"),
        ({"gaps": 3}, TypeError, "gaps must be a list of words, got 3"),
        ({"gaps": ["x"]}, ValueError, "gaps must only be given with a table"),
        ({"task": "guess"}, ValueError, "task must be one of auto, classification, regression"),
        ({"task": "regression"}, ValueError, "task must be classification for two_regions"),
        (
            {"fold_inputs": [], "standardize": True},
            ValueError,
            "fold_inputs must not be given with standardize",
        ),
        ({"target": "y"}, ValueError, "target must only be given"),
        ({"seeds": []}, ValueError, "seeds must be at least 1, got none"),
        ({"pairing": "none"}, ValueError, "pairing must be one of paired, independent"),
        ({"config": [1]}, TypeError, "config must be a regjax.Config or a dict, got list"),
        ({"config": {"hiden": 3}}, ValueError, "config must be one of .* did you mean hidden"),
    ],
)
def test_slips(options, error, words):
    with pytest.raises(error, match=words):
        make_design("two_regions", **options)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"embedding_size": 4}, "embedding_size is asked for, but embedding none does not read it"),
        (
            {"embedding": "piecewise", "embedding_scale": 0.1},
            "embedding_scale is asked for, but embedding piecewise does not read it",
        ),
        ({"decay_steps": 5}, "decay_steps is asked for, but schedule constant does not read it"),
        ({"schedule": "cyclic"}, "schedule cyclic does not begin anew, so that it is cosine"),
        ({"schedule": "cyclic", "decay_steps": 20}, "schedule cyclic does not begin anew"),
        ({"schedule": "cyclic", "decay_steps": 30}, "schedule cyclic does not begin anew"),
        ({"schedule": "cyclic", "decay_steps": 10}, None),
        ({"schedule": "cosine", "decay_steps": 10}, None),
        ({"embedding": "periodic", "embedding_size": 4, "embedding_scale": 0.1}, None),
    ],
)
def test_notes_name_fields_that_do_nothing(fields, words):
    config = {"num_steps": 20, "eval_every": 20} | fields
    notes = make_design("two_regions", config, {"l2": 0.1}, folds=2).notes
    if words is None:
        assert notes == ()
    else:
        (note,) = notes
        assert note.startswith(words)


def test_an_axis_that_reads_a_field_in_one_configuration_is_no_note():
    grid = {"embedding": ["none", "piecewise"]}
    config = {"num_steps": 20, "eval_every": 20, "embedding_size": 4}
    assert make_design("two_regions", config, grid, folds=2).notes == ()


def test_notes_name_settings_that_do_nothing_or_little():
    design = make_design(
        "two_regions",
        {"num_steps": 20, "eval_every": 20, "optimizer": "sgd"},
        {"momentum": [0.5, 0.9], "patience": [None, 5, 40], "batch_size": [20, 40]},
        folds=2,
    )
    for words in (
        "batch sizes differ: 20 steps are held fixed, the number of epochs differs",
        "momentum is asked for, but sgd does not read it",
        "early stopping watches 11 samples: few",
        "patience is at least the number of steps",
        "patience is less than eval_every",
    ):
        assert any(note.startswith(words) for note in design.notes), words
