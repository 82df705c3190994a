"""The parameters of the estimators and searches: declared once, and used as scikit-learn does."""

import importlib.util
import inspect
import pickle
import sys

import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor

from regjax import RegGridSearchCV, RegMLPClassifier, RegMLPRegressor, RegRandomizedSearchCV
from regjax.core.hparams import HYPERPARAMETERS, STRENGTH, Hyperparameter
from regjax.sklearn import parameters

NAMES = {declared.sklearn: declared for declared in HYPERPARAMETERS.values() if declared.sklearn}


@pytest.mark.parametrize(
    ("ours", "peer"), [(RegMLPClassifier, MLPClassifier), (RegMLPRegressor, MLPRegressor)]
)
def test_names_defaults_and_positions_are_scikit_learns(ours, peer):
    found, wanted = inspect.signature(ours).parameters, inspect.signature(peer).parameters
    for name, parameter in wanted.items():
        assert found[name].default == parameter.default, name
    positional = [name for name, p in found.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == (["loss"] if ours is RegMLPRegressor else []) + ["hidden_layer_sizes", "activation"]
    assert [name for name, p in wanted.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
    assert all(parameter.annotation is parameter.empty for parameter in found.values())
    with pytest.raises(TypeError, match="positional arguments"):
        ours(*positional, "adam")
    with pytest.raises(TypeError, match="unexpected keyword argument 'strength'"):
        ours(strength=1)


@pytest.mark.parametrize("ours", [RegMLPClassifier, RegMLPRegressor])
def test_every_hyperparameter_of_the_core_is_a_parameter(ours):
    known = ours().get_params()
    for name, declared in NAMES.items():
        assert (name in known) == (ours is RegMLPClassifier or not declared.classes), name
        if name in known and name not in inspect.signature(MLPClassifier).parameters:
            assert f"\n        {name}: " in str(ours.__doc__)
    assert "{" not in str(ours.__doc__)
    assert set(ours._parameter_constraints) == set(known)
    assert all(ours._parameter_constraints.values())


def test_a_line_added_to_the_cores_table_reaches_the_estimators(monkeypatch):
    added = Hyperparameter(STRENGTH, "Strength of a new penalty.", off=0.0, sklearn="added")
    monkeypatch.setitem(HYPERPARAMETERS, "l7", added)
    spec = importlib.util.spec_from_file_location("parameters_anew", parameters.__file__)
    assert spec is not None
    assert spec.loader is not None
    anew = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "parameters_anew", anew)
    spec.loader.exec_module(anew)

    class Network(anew.Parameters):
        """A network.

        Args:
        {regularisers}
        """

    network = anew.estimator(Network)(added=0.25)
    assert network.get_params()["added"] == network._hparams()["l7"] == 0.25
    assert "        added: strength of a new penalty.\n" in str(Network.__doc__)
    with pytest.raises(ValueError, match="The 'added' parameter of Network must be a float in the range"):
        network.set_params(added=-1)._validate_params()


def test_values_are_converted_to_the_cores():
    network = RegMLPClassifier(
        (3, 2), dropout=(0.25, 0.5), dropconnect=0.125, max_norm=2.0, alpha=3.0, l1=1.0, n_iter_no_change=7
    )
    found = network._hparams(mean_weight=2.0)
    assert found["keep_prob"] == (0.75, 0.5)
    assert found["dropconnect_keep_prob"] == 0.875
    assert found["max_norm"] == 2.0
    assert found["clip_norm"] == float("inf")
    assert (found["l2"], found["l1"]) == (1.5, 0.5)
    assert found["n_iter_no_change"] == 7
    assert network.set_params(n_iter_no_change=float("inf"))._hparams()["n_iter_no_change"] == 1e9
    assert len(found) == len(NAMES)


def test_comparison_hash_and_words_stay_scikit_learns():
    network = RegMLPRegressor(hidden_layer_sizes=(4,), dropout=0.5)
    for copied in (clone(network), pickle.loads(pickle.dumps(network))):
        assert copied != network
        assert hash(copied) != hash(network)
        assert repr(copied) == "RegMLPRegressor(dropout=0.5, hidden_layer_sizes=(4,))"
        assert copied.get_params() == network.get_params()
    assert "dropout" in network._repr_html_()
    assert set(vars(network)) == set(network.get_params())
    assert network.set_params(dropout=0.25).dropout == 0.25
    assert RegMLPRegressor().dropout == 0.0


@pytest.mark.parametrize(
    ("ours", "peer"), [(RegGridSearchCV, GridSearchCV), (RegRandomizedSearchCV, RandomizedSearchCV)]
)
def test_searches_have_their_parents_parameters_and_two_more(ours, peer):
    found, wanted = inspect.signature(ours).parameters, inspect.signature(peer).parameters
    assert list(found) == [*wanted, "n_seeds", "store"]
    assert all(str(found[name]) == str(parameter) for name, parameter in wanted.items())
    search = ours(RegMLPClassifier(), {"alpha": [1.0]}, cv=3, n_seeds=2, store="runs.sqlite")
    assert set(clone(search).get_params(deep=False)) == set(found)
    assert (clone(search).cv, clone(search).n_seeds, clone(search).store) == (3, 2, "runs.sqlite")
