"""Which networks the native kernel trains, and that its numbers are those of the C++ source."""

import re
from pathlib import Path

import pytest

import regjax
from regjax.native import coverage

FOLDER = Path(coverage.__file__).parent


@pytest.mark.parametrize(
    ("fields", "on", "known"),
    [
        ({}, (), True),
        ({"dtype": "float64", "optimizer": "adamw", "schedule": "cosine"}, ("keep_prob", "patience"), True),
        ({"schedule": "cyclic", "decay_steps": 10}, (), False),
        ({"activation": "tanh", "class_weight": "balanced", "batch_size": 8}, ("input_keep_prob",), True),
        ({"precision": "high"}, (), True),
        ({"precision": "bfloat16"}, (), False),
        *(({"activation": name}, (), False) for name in ("gelu", "silu", "selu")),
        ({"batches": "all"}, (), False),
        *(({name: value}, (), False) for name, value in (("norm", "layer"), ("members", 2))),
        ({"stop_on": "loss", "schedule": "adaptive"}, (), False),
        ({"epsilon_hat": True}, (), False),
        ({"draws": "sklearn"}, (), False),
        *(({}, (name,), False) for name in ("mixup", "gaussian_dropout", "ema_decay", "max_norm", "sam")),
        ({}, ("keep_prob", "label_smoothing"), False),
    ],
)
def test_it_covers_what_it_knows(fields, on, known):
    assert coverage.covers(regjax.Config(**fields), on) is known


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("file", "name", "table"),
    [
        ("layers.h", "Activation", coverage.ACTIVATIONS),
        ("network.h", "Optimizer", coverage.OPTIMIZERS),
        ("network.h", "Schedule", coverage.SCHEDULES),
        ("layers.h", "Loss", {k: v for k, v in coverage.LOSSES.items() if k != "multilabel_cross_entropy"}),
    ],
)
def test_numbers_are_those_of_the_source(file, name, table):
    (found,) = re.findall(rf"enum {name} \{{ (.*) \}};", (FOLDER / file).read_text())
    assert {word.lower(): number for number, word in enumerate(found.split(", "))} == table
