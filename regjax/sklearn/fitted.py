"""`fit`: a sweep's chosen configuration, trained on all rows, as a fitted Pipeline of scikit-learn.

Users call it as `regjax.fit`. It makes estimators of a `Model`, whose predictions they have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler

from regjax.core.hparams import HYPERPARAMETERS
from regjax.core.mlp import Params
from regjax.engine.refit import refit
from regjax.sklearn.base import RegMLP
from regjax.sklearn.encoder import TableEncoder
from regjax.sklearn.estimators import RegMLPClassifier, RegMLPRegressor
from regjax.sklearn.parameters import ACTIVATIONS
from regjax.study.configuration import value_of
from regjax.study.model import Model
from regjax.study.questions import Questions
from regjax.study.results import Results


def fit(
    results: Results,
    configuration: int | None = None,
    ensemble: int | Iterable[int] = 1,
    *,
    questions: Questions | None = None,
) -> Pipeline:
    """Returns a fitted Pipeline: a `TableEncoder`, and the chosen network, trained on all rows.

    The network is a `RegMLPClassifier` or a `RegMLPRegressor` whose parameters say the configuration; with an
    ensemble a `VotingClassifier` or a `VotingRegressor` of them. Its predictions are those of `regjax.refit`,
    its classes the user's labels.

    The Pipeline can be cloned, and fitted again, on frames with the columns of the table: networks are then
    trained as the estimators train them. What they have no parameter for is left out of that: patience,
    schedules other than the estimators', and the regularisers that are no parameter of theirs
    (docs/regularisers.md).

    Args:
        results: the results of a sweep.
        configuration: number of the configuration; None takes the choice by validation.
        ensemble: a number of seeds, for 0 … ensemble - 1, or a list of them.
        questions: how the choice is made; see `regjax.refit`.

    Raises:
        TypeError: as `regjax.refit`.
        ValueError: as `regjax.refit`; or an ensemble of several outputs, which scikit-learn has not.

    Example:
        >>> import regjax
        >>> from sklearn.datasets import load_iris
        >>> table = load_iris(as_frame=True).frame
        >>> config = {"optimizer": "adam", "num_steps": 100, "eval_every": 100}
        >>> results = regjax.sweep(table, config, {"learning_rate": 0.02}, folds=3, progress=False)
        >>> pipeline = regjax.fit(results)
        >>> bool(pipeline.score(table.drop(columns="target"), table["target"]) > 0.9)
        True
    """
    return as_pipeline(refit(results, configuration=configuration, seeds=ensemble, questions=questions))


def as_pipeline(model: Model) -> Pipeline:
    """Returns the fitted Pipeline of a model; errors as in `fit`."""
    if not model.config.is_plain:
        raise ValueError(
            "model must be a plain network for scikit-learn's estimators: predict with the Model of "
            f"regjax.refit, got {model.config.blocks}"
        )
    several = len(model.networks) > 1
    if several and model.classes is None and model.config.layer_sizes[-1] > 1:
        raise ValueError(
            "ensemble must be 1 for several outputs, which scikit-learn's VotingRegressor does not have: "
            f"got {len(model.networks)}"
        )
    # scikit-learn's voting classifier numbers the classes for its members.
    classes = model.classes if model.classes is None or not several else np.arange(len(model.classes))
    networks = [
        _network(model, params, seed, classes)
        for params, seed in zip(model.networks, model.training.seeds, strict=True)
    ]
    last = _voting(model, networks) if several else networks[0]
    if np.any(model.target_mean != 0) or model.target_scale != 1:
        last = _scaled(model, last)
    return Pipeline([("table", _encoder(model)), ("network", last)])


def _encoder(model: Model) -> TableEncoder:
    """Returns the encoder with the model's schema and statistics; its parameters say all kinds."""
    schema = model.schema
    kinds: Any = {column.name: column.kind for column in schema.columns} if model.named else None
    encoder: Any = TableEncoder(kinds, standardize=model.training.standardize, dtype=model.config.dtype)
    encoder.schema_, encoder.statistics_ = schema, model.statistics
    encoder.n_features_in_ = len(schema.columns)
    if model.named:
        encoder.feature_names_in_ = np.array([column.name for column in schema.columns], object)
    return encoder


def _network(model: Model, params: Params, seed: int, classes: np.ndarray | None) -> RegMLP:
    """Returns the fitted estimator of a network."""
    kind: Any = RegMLPRegressor if classes is None else RegMLPClassifier
    own = _regularisers(model, kind) | _settings(model) | {"random_state": seed}
    weights = model.config.class_weight
    if classes is not None:
        own["class_weight"] = (
            dict(zip(classes.tolist(), weights, strict=True)) if isinstance(weights, tuple) else weights
        )
    network = kind(**own)
    if classes is not None:
        network.classes_ = classes
    network._adopt(params)
    network._describe(model.config, model.training.epochs)
    return network


def _regularisers(model: Model, kind: Any) -> dict[str, Any]:
    """Returns the estimator's parameters for the model's hyperparameters."""
    known = kind().get_params()
    found = {}
    for name, declared in HYPERPARAMETERS.items():
        if declared.sklearn not in known:
            continue
        value = value_of(model.training.configuration, name)
        if declared.meaning == "rate":
            # Rounded, so that 1 - 0.9 is 0.1.
            found[declared.sklearn] = (
                tuple(round(1 - v, 12) for v in value) if isinstance(value, tuple) else round(1 - value, 12)
            )
        elif declared.meaning == "bound" and value == math.inf:
            found[declared.sklearn] = None
        else:
            found[declared.sklearn] = value
    return found


def _settings(model: Model) -> dict[str, Any]:
    """Returns the estimator's parameters for the model's `Config`."""
    config, training = model.config, model.training
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    found: dict[str, Any] = {
        "hidden_layer_sizes": config.layer_sizes[1:-1],
        "activation": names[config.activation],
        "solver": "adam" if config.optimizer in ("adam", "adamw") else "sgd",
        "nesterovs_momentum": config.optimizer == "nesterov",
        "batch_size": config.batch_size or training.num_rows,
        "max_iter": training.epochs,
        "shuffle": config.shuffle,
        "dtype": config.dtype,
        "early_stopping": config.stop_on == "score",
    }
    if config.schedule in ("invscaling", "adaptive"):
        found["learning_rate"] = config.schedule
    if config.loss == "poisson":
        found["loss"] = "poisson"
    if config.optimizer == "sgd":
        found["momentum"] = 0.0
    if config.stop_on is None:  # all epochs are trained
        found |= {"tol": 0.0, "n_iter_no_change": np.inf}
    return found


def _voting(model: Model, networks: list[RegMLP]) -> Any:
    """Returns scikit-learn's fitted mean of several networks."""
    named = [(f"seed_{seed}", net) for seed, net in zip(model.training.seeds, networks, strict=True)]
    if model.classes is None:
        voting: Any = VotingRegressor(named)
    else:
        voting = VotingClassifier(named, voting="soft")
        voting.le_ = LabelEncoder().fit(model.classes)
        voting.classes_ = voting.le_.classes_
    voting.estimators_ = networks
    voting.named_estimators_ = dict(named)
    return voting


def _scaled(model: Model, regressor: Any) -> TransformedTargetRegressor:
    """Returns a fitted regressor that takes predictions to the unit of the targets."""
    scaler: Any = StandardScaler()
    scaler.mean_ = np.asarray(model.target_mean, np.float64)
    scaler.scale_ = np.full(len(scaler.mean_), model.target_scale)
    scaler.var_, scaler.n_features_in_ = scaler.scale_**2, len(scaler.mean_)
    scaler.n_samples_seen_ = model.training.num_rows
    found: Any = TransformedTargetRegressor(regressor, transformer=scaler)
    found.regressor_, found.transformer_ = regressor, scaler
    found._training_dim = 1 if len(scaler.mean_) == 1 else 2
    return found
