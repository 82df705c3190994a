"""`TableEncoder`: scikit-learn's own preprocessing by hand, its checks, Pipelines and searches."""

import numpy as np
import pandas as pd
import polars
import pytest
from mixed_models import fitted, mixed, unseen
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import regjax
from regjax.sklearn.encoder import TableEncoder

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.sampled(20)
@parametrize_with_checks([TableEncoder(), TableEncoder(standardize=False, dtype="float32")])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def by_hand():
    """Returns the preprocessing of `mixed` as a user of scikit-learn writes it."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=False), StandardScaler())
    levels = [["Bergen", "Bø", "Oslo", "Voss", "Ås"], [False, True]]
    town = OneHotEncoder(categories=levels[:1], handle_unknown="ignore", sparse_output=False)
    flag = OneHotEncoder(categories=levels[1:], sparse_output=False)
    return make_column_transformer((numbers, ["age", "large", "days"]), (town, ["town"]), (flag, ["flag"]))


def test_inputs_are_those_of_a_column_transformer_by_hand():
    frame = mixed(n=400)
    x = frame.drop(columns="y")
    encoder = TableEncoder().fit(x)
    found = pd.DataFrame(encoder.transform(x), columns=encoder.get_feature_names_out())
    days = (x["when"] - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
    hand = by_hand().fit_transform(x.assign(days=days))
    hand = pd.DataFrame(hand, columns=["age", "large", "when", "b", "ø", "o", "v", "å", "false", "true"])
    wanted = {
        "age": hand["age"],
        "age missing": x["age"].isna(),
        "large": hand["large"],
        "town = Bergen": hand["b"],
        "town = Bø": hand["ø"],
        "town = Oslo": hand["o"],
        "town = Voss": hand["v"],
        "town = Ås": hand["å"],
        "town missing": x["town"].isna(),
        "flag = False": hand["false"],
        "flag = True": hand["true"],
        "when": hand["when"],
    }
    assert list(found) == list(wanted)
    for name, column in wanted.items():
        np.testing.assert_allclose(found[name], np.asarray(column, float), atol=1e-6, err_msg=name)


@pytest.mark.nightly
def test_inputs_are_those_of_the_model():
    model, frame = fitted(), unseen()
    x = mixed().drop(columns="y")
    encoder = TableEncoder(dtype="float32").fit(x)
    assert encoder.schema_.input_names == model.schema.input_names
    for name in ("median", "mean", "scale", "rare"):
        np.testing.assert_array_equal(getattr(encoder.statistics_, name), getattr(model.statistics, name))
    assert encoder.transform(frame).dtype == np.float32


def test_columns_are_found_by_name_and_may_be_told():
    x = mixed().drop(columns="y")
    encoder = TableEncoder({"flag": "drop", "large": "numeric", "nothing": "drop"}).fit(x)
    assert "flag = True" not in encoder.get_feature_names_out()
    assert encoder.n_features_in_ == 6
    assert encoder.feature_names_in_.tolist() == list(x)
    wanted = encoder.transform(x)
    np.testing.assert_array_equal(encoder.transform(x[x.columns[::-1]]), wanted)
    np.testing.assert_array_equal(encoder.transform(x.drop(columns=["flag", "number"])), wanted)
    as_polars = polars.DataFrame({name: x[name].where(x[name].notna(), None).to_list() for name in x})
    np.testing.assert_array_equal(clone(encoder).fit(as_polars).transform(as_polars), wanted)
    with pytest.raises(ValueError, match="lacks 'age'"):
        encoder.transform(x.drop(columns="age"))
    with pytest.raises(ValueError, match="got 'more' besides"):
        encoder.transform(x.assign(more=1))
    with pytest.raises(TypeError, match="X must be a frame"):
        encoder.transform(x.to_numpy())


def test_arrays_are_columns_of_numbers():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, (50, 3))
    X[4, 1] = np.nan
    encoder = TableEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == ["x1", "x2", "x2 missing", "x3"]
    scaled = StandardScaler().fit_transform(SimpleImputer(strategy="median").fit_transform(X))
    np.testing.assert_allclose(encoder.transform(X)[:, [0, 1, 3]], scaled, atol=1e-12)
    dropped = TableEncoder({"x2": "drop"}, standardize=False).fit(X)
    np.testing.assert_array_equal(dropped.transform(X), X[:, [0, 2]])
    with pytest.raises(ValueError, match="columns must name columns of an array"):
        TableEncoder({"x1": "category"}).fit(X)
    with pytest.raises(ValueError, match="columns must name columns of the table"):
        TableEncoder({"old": "numeric"}).fit(pd.DataFrame(X))


def test_it_stands_in_anybodys_pipeline():
    frame = mixed()
    x, y = frame.drop(columns="y"), frame["y"]
    scores = cross_val_score(make_pipeline(TableEncoder(), LogisticRegression()), x, y, cv=3)
    assert scores.mean() > 0.7
    search = GridSearchCV(
        make_pipeline(TableEncoder(), LogisticRegression()),
        {"tableencoder__standardize": [True, False]},
        cv=2,
    )
    assert search.fit(x[["age", "town"]], y).best_score_ > 0.6


@pytest.mark.nightly
def test_it_stands_in_our_search():
    frame = mixed()
    x, y = frame.drop(columns="y"), frame["y"]
    network = regjax.RegMLPClassifier((4,), max_iter=20, learning_rate_init=0.05, random_state=0)
    pipeline = Pipeline([("table", TableEncoder(dtype="float32")), ("network", network)])
    grid = {"network__alpha": [0.01, 1.0]}
    search = regjax.RegGridSearchCV(pipeline, grid, cv=3).fit(x, y)
    peer = GridSearchCV(pipeline, grid, cv=3).fit(x, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"], atol=1e-6
    )
    assert search.predict(unseen()).shape == (40,)
