"""Identities and checksums: what was asked for, and nothing else."""

import numpy as np
from stores import CONFIG
from sweeps import points

from regjax.store.identity import identities
from regjax.study.design import make_design


def test_identity_is_what_was_asked_for():
    def rows(grid=None, config=None, **options):
        options = {"seeds": 1, "folds": 2} | options
        return identities(
            make_design("two_regions", CONFIG | (config or {}), grid or {"l2": [0.1]}, **options)
        )

    base = rows()
    assert rows({"l2": np.float64(0.1), "keep_prob": None}) == base
    assert rows({"l2": 0.1 + 1e-15, "dropout": 0, "l1": "none"}) == base
    assert rows({"hidden": [(6, 3)], "l2": 0.1}) == base
    assert rows(seeds=2)[:2] == base
    others = [
        rows({"l2": 0.2}),
        rows(folds=3)[:2],
        rows(config={"num_steps": 41}),
        rows(config={"eval_every": 11}),
        rows(config={"dtype": "float64"}),
        rows(pairing="independent"),
        rows(standardize=True),
        rows(test="none"),
        rows(seeds=[1]),
    ]
    everything = [*base, *(identity for found in others for identity in found)]
    assert len(set(everything)) == len(everything)
    X, y = points()
    one = identities(make_design((X, y), CONFIG))
    X[0, 0] += 1e-9
    assert identities(make_design((X, y), CONFIG)) != one


def test_identities_and_keys_are_those_of_earlier_versions():
    X = np.arange(24.0).reshape(8, 3)
    design = make_design((X, np.arange(8) % 2), {"num_steps": 3}, {"l2": [0, 0.1]}, folds=2)
    assert identities(design)[0] == "3bf76a2997c435ba3d12bd2fad1d77f3"
    own = make_design((X, np.arange(8) % 2), {"num_steps": 3}, {"l2": [0, 0.1]}, pairing="independent")
    assert own.key(own.row(1)).tolist() == [2237992798, 2009692004]
