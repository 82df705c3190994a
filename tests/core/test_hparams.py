import numpy as np
import pytest

import regjax
from regjax.core.hparams import HParams, check_hparams

CONFIG = regjax.Config(layer_sizes=(2, 5, 4, 1))

BAD = [
    (
        {"l1_prox": 0.1},
        {"optimizer": "adam"},
        "l1_prox must be used with optimizer sgd: adam needs a preconditioned prox",
    ),
    ({"group_lasso": 0.1}, {"optimizer": "momentum"}, "group_lasso must be used with optimizer sgd"),
    ({"ema_decay": 0.9, "average_from": 3}, {}, "ema_decay and average_from must not both be on"),
    ({"mixup": -1}, {}, "mixup must be a finite number >= 0"),
    ({"mixup": np.inf}, {}, "mixup must be a finite number >= 0"),
    ({"max_norm": 0}, {}, "max_norm must be a number > 0"),
    ({"label_smoothing": 1}, {}, r"label_smoothing must be in \[0, 1\)"),
    ({"dropconnect_keep_prob": 0}, {}, r"dropconnect_keep_prob must be in \(0, 1\]"),
    ({"swap_noise": (0.1, 0.2)}, {}, "swap_noise must be one value, got shape"),
    (
        {"gaussian_dropout": (0.1, 0.2, 0.3)},
        {},
        r"gaussian_dropout must be one value, or 2 \(one per hidden layer\)",
    ),
    ({"ema_decay": 1}, {}, r"ema_decay must be in \[0, 1\)"),
    ({"decay_rate": 0}, {}, r"decay_rate must be in \(0, 1\]"),
    ({"sam": None, "clip_norm": -1}, {}, "clip_norm must be a number > 0"),
]


@pytest.mark.parametrize(("values", "fields", "words"), BAD)
def test_what_makes_no_sense_is_refused_in_words(values, fields, words):
    config = regjax.Config(**fields)
    with pytest.raises(ValueError, match=words):
        check_hparams(config, HParams(**values))


def test_hyperparameters_become_arrays_of_one_shape_and_dtype():
    found = check_hparams(CONFIG, regjax.HParams(1, l2=0.7, keep_prob=(0.9, 0.8)))
    assert found.l2.tolist() == pytest.approx([0.7] * 3)
    assert found.keep_prob.tolist() == pytest.approx([0.9, 0.8])
    assert {leaf.dtype for leaf in found if leaf is not None} == {np.dtype("float32")}
    assert found.l1.tolist() == [0] * 3


@pytest.mark.parametrize("off", [None, 1, 1.0, (1, 1), np.ones(2)])
def test_off_has_one_spelling(off):
    assert check_hparams(CONFIG, regjax.HParams(keep_prob=off)).keep_prob is None
    assert (
        check_hparams(CONFIG, regjax.HParams(input_keep_prob=None if np.ndim(off) else off)).input_keep_prob
        is None
    )
