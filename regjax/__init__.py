"""regjax trains regularised neural networks in JAX, many at once, and shows what the regularisation did.

Pure functions with explicit keys: forward, hand-derived backward and cost of multi-layer perceptrons,
under `jit` and `vmap`. Importing it changes no setting of JAX and starts no device.
"""

from typing import TYPE_CHECKING, Any

from regjax.core.config import Config
from regjax.core.data import Data
from regjax.core.dropout import dropout_masks
from regjax.core.gradient_check import check_gradient
from regjax.core.hparams import HParams
from regjax.core.mlp import Layer, backward, forward, init_params, predict, predict_proba
from regjax.core.objective import cost, cost_and_grads
from regjax.core.random import replicate_key
from regjax.core.train import Trained, make_train
from regjax.data.loaders import load_csv, load_mat, load_npz, two_regions
from regjax.engine.sweep import load, plan, sweep
from regjax.study.grid import Grid, grid, random_grid, sobol_grid
from regjax.study.plan import Plan
from regjax.study.results import Results

if TYPE_CHECKING:
    from regjax.sklearn.estimators import RegMLPClassifier, RegMLPRegressor
    from regjax.sklearn.search import RegGridSearchCV, RegRandomizedSearchCV, one_se

__all__ = [
    "Config",
    "HParams",
    "Data",
    "load_mat",
    "load_csv",
    "load_npz",
    "two_regions",
    "Layer",
    "init_params",
    "forward",
    "backward",
    "predict",
    "predict_proba",
    "cost",
    "cost_and_grads",
    "dropout_masks",
    "replicate_key",
    "make_train",
    "Trained",
    "check_gradient",
    "Grid",
    "grid",
    "random_grid",
    "sobol_grid",
    "sweep",
    "Results",
    "load",
    "plan",
    "Plan",
    "RegMLPClassifier",
    "RegMLPRegressor",
    "RegGridSearchCV",
    "RegRandomizedSearchCV",
    "one_se",
]

# scikit-learn takes a second to import: these are when they are asked for.
_LAZY = {
    "RegMLPClassifier": "sklearn.estimators",
    "RegMLPRegressor": "sklearn.estimators",
    "RegGridSearchCV": "sklearn.search",
    "RegRandomizedSearchCV": "sklearn.search",
    "one_se": "sklearn.search",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'regjax' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"regjax.{_LAZY[name]}"), name)
