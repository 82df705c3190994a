import dataclasses

import pytest

import regjax

CONFIG = regjax.Config(layer_sizes=(2, 5, 4, 1))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"layer_sizes": (3,)}, ValueError, "layer_sizes must name an input and an output layer, got"),
        ({"layer_sizes": 3}, TypeError, "layer_sizes must be a tuple of whole numbers, got 3"),
        ({"layer_sizes": (2, 0, 1)}, ValueError, "layer_sizes must be at least 1, got 0"),
        ({"layer_sizes": (2, 1.5)}, TypeError, "layer_sizes must be a whole number, got 1.5"),
        ({"num_steps": 0}, ValueError, "num_steps must be at least 1, got 0"),
        ({"num_steps": 2.5}, TypeError, "num_steps must be a whole number, got 2.5"),
        ({"num_steps": float("nan")}, TypeError, "num_steps must be a whole number, got nan"),
        ({"num_steps": True}, TypeError, "num_steps must be a whole number, got True"),
        ({"eval_every": -3}, ValueError, "eval_every must be at least 1, got -3"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        (
            {"activation": "swish"},
            ValueError,
            "activation must be one of relu, tanh, sigmoid, gelu, silu, selu, identity, got 'swish'",
        ),
        ({"loss": "hinge"}, ValueError, "loss must be one of auto, sigmoid_cross_entropy"),
        ({"optimizer": "lbfgs"}, ValueError, "optimizer must be one of sgd, momentum"),
        ({"clip_loss": "yes"}, ValueError, "clip_loss must be one of True, False, got 'yes'"),
        ({"init": "zeros"}, ValueError, "init must be one of tutorial, he, glorot"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of float32, float64"),
        ({"metrics": "accuracy"}, TypeError, "metrics must be names or None, got 'accuracy'"),
        ({"metrics": ["auc"]}, ValueError, "metrics must be one of loss, accuracy, .*did you mean"),
        ({"precision": "low"}, ValueError, "precision must be one of highest, high, default, bfloat16"),
        (
            {"precision": "bfloat16", "dtype": "float64"},
            ValueError,
            "precision must be highest, high or default with float64, got 'bfloat16'",
        ),
    ],
)
def test_bad_configs(arguments, error, words):
    with pytest.raises(error, match=words):
        regjax.Config(**arguments)


def test_config_is_frozen_hashable_and_canonical():
    a, b = (
        regjax.Config(layer_sizes=[2, 3, 1], num_steps=10.0),
        regjax.Config(layer_sizes=(2, 3, 1), num_steps=10),
    )  # type: ignore[arg-type]
    assert a == b
    assert hash(a) == hash(b)
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.num_steps = 3  # type: ignore[misc]


def test_program_forgets_only_what_the_host_loop_passes():
    one, other = (regjax.Config(num_steps=n, eval_every=e).program() for n, e in ((5, 2), (7, 7)))
    assert one == other
    assert one != regjax.Config(activation="tanh").program()
