"""Identities and checksums: what was asked for, and nothing else."""

import hashlib

import numpy as np
from stores import CONFIG, make_design
from sweeps import points

from regjax.core.data import Data
from regjax.core.hparams import HParams
from regjax.store.identity import (
    checksum_of,
    digest,
    fingerprint,
    hash_of_file,
    identities,
    sweep_identity,
)


def test_identity_is_what_was_asked_for():
    def rows(grid=None, config=None, **options):
        options = {"seeds": 1, "folds": 2} | options
        return identities(
            make_design("two_regions", CONFIG | (config or {}), grid or {"l2": [0.1]}, **options)
        )

    base = rows()
    assert rows({"l2": np.float64(0.1), "keep_prob": None}) == base
    assert rows({"l2": 0.1 + 1e-15, "dropout": 0, "l1": "none"}) == base
    assert rows({"hidden": [CONFIG["hidden"]], "l2": 0.1}) == base
    assert rows(seeds=2)[:2] == base
    others = [
        rows({"l2": 0.2}),
        rows(folds=3)[:2],
        rows(config={"num_steps": 41}),
        rows(config={"eval_every": 11}),
        rows(config={"dtype": "float64"}),
        *(rows(config={"precision": precision}) for precision in ("high", "default", "bfloat16")),
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


def test_the_clipped_loss_is_in_the_identity_only_where_it_decides():
    def rows(**config):
        return identities(make_design("two_regions", CONFIG | config, {"l2": [0.1]}, seeds=1, folds=2))

    assert rows(clip_loss=True) == rows()
    assert rows(clip_loss=True, stop_on="score") == rows(stop_on="score")
    assert not set(rows(clip_loss=True, stop_on="loss")) & set(rows(stop_on="loss"))


def test_every_hyperparameter_is_in_the_identity():
    grids = [{}, *({name: 3.0 if name == "n_iter_no_change" else 0.25} for name in HParams._fields)]
    found = [row for grid in grids for row in identities(make_design("two_regions", CONFIG, grid, folds=2))]
    assert len(set(found)) == len(found) == 2 * len(grids)


def test_identities_and_keys_are_those_of_earlier_versions():
    X = np.arange(24.0).reshape(8, 3)
    design = make_design((X, np.arange(8) % 2), {"num_steps": 3}, {"l2": [0, 0.1]}, folds=2)
    assert identities(design)[0] == "3bf76a2997c435ba3d12bd2fad1d77f3"
    own = make_design((X, np.arange(8) % 2), {"num_steps": 3}, {"l2": [0, 0.1]}, pairing="independent")
    assert own.key(own.row(1)).tolist() == [2237992798, 2009692004]


def test_standardised_targets_are_in_the_identity_only_where_they_are_on():
    X = np.arange(24.0).reshape(8, 3)

    def first(**options):
        return identities(make_design((X, X[:, 0]), {"num_steps": 3}, {"l2": [0, 0.1]}, folds=2, **options))[
            0
        ]

    assert first() == first(standardize_target=False) == "920a64f1ddfceca31a1e953fa9a63f9f"
    assert first(standardize_target=True) == "5ef1583659205149fbbd1b9ee7687919"


def test_a_checksum_sees_every_value_and_every_byte_and_no_column_that_came_later():
    base = checksum_of(["id", 1, 2.5], b"bytes")
    assert base == "04e3aab724bb606e8fae9d91c74bca79cb7bcb3a3109153838d1bd6270078175"
    assert checksum_of(["id", None, 1, None, 2.5], b"bytes") == base
    others = [
        checksum_of(["id", 1, 2.5], b"bytez"),
        checksum_of(["id", 1, 2.5], None),
        checksum_of(["id", 2.5, 1], b"bytes"),
        checksum_of(["id", 1.0, 2.5], b"bytes"),
    ]
    assert len({base, *others}) == 5


def test_hashes_are_those_of_earlier_versions(tmp_path):
    told = {"b": 1, "a": [None, "x"]}
    assert digest(told) == "8b88b1c24a300a34fe229dbfa69a17daf8008de025a35495c6f5185e37f43978"
    assert digest(dict(reversed(told.items()))) == digest(told)
    data = Data(np.eye(2), np.array([[0, 1]]), np.ones(2))
    assert fingerprint(data) == "e31e5d5754cc88ee37abf9b87d52e0db164f77463bdd9e7827eef81475f82e1e"
    assert fingerprint(data._replace(x=np.eye(2, dtype=np.float32))) != fingerprint(data)
    assert fingerprint(data._replace(x=np.eye(2).T.copy("F"))) == fingerprint(data)
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_of_file(str(tmp_path / "a")) == hashlib.sha256(b"abc").hexdigest()
    assert hash_of_file(str(tmp_path)) is hash_of_file(None) is None


def test_a_sweep_is_its_rows_in_order_and_its_labels():
    X, y = points(30, 3, 2)
    one, other = (make_design((X, np.array(names)[y]), CONFIG) for names in (["a", "b"], ["c", "d"]))
    rows = identities(one)
    assert rows == identities(other)
    assert sweep_identity(rows, one) != sweep_identity(rows, other)
    assert sweep_identity(["a", "b"], one) != sweep_identity(["b", "a"], one)
