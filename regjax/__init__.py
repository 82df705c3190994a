"""regjax trains regularised neural networks in JAX, many at once, and shows what the regularisation did.

This module holds the names that users import; `__all__` lists them. Each is imported when it is first used:
`import regjax` loads no other module, changes no setting of JAX and starts no device. `regjax.plot`,
`regjax.tutorial` and the other packages are loaded the same way.

Example:
    >>> import regjax
    >>> regjax.Config(layer_sizes=(2, 20, 3, 1)).layer_sizes
    (2, 20, 3, 1)
"""

import importlib

# Type checkers take this name for true, whoever defines it. `typing` would take longer than all else here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from regjax import core as core
    from regjax import optuna as optuna
    from regjax import plot as plot
    from regjax import report as report
    from regjax import tutorial as tutorial
    from regjax.core.config import Config
    from regjax.core.data import Data
    from regjax.core.dropout import dropout_masks
    from regjax.core.gradient_check import check_gradient
    from regjax.core.hparams import HParams
    from regjax.core.mlp import Layer, backward, forward, init_params, predict, predict_proba
    from regjax.core.objective import cost, cost_and_grads
    from regjax.core.random import replicate_key
    from regjax.core.train import Trained, make_train
    from regjax.data import datasets as datasets
    from regjax.data.datasets import two_regions
    from regjax.data.loaders import load_mat, load_npz, load_table
    from regjax.engine.population import population, train_schedule
    from regjax.engine.references import references
    from regjax.engine.refit import refit
    from regjax.engine.sensitivities import sensitivities
    from regjax.engine.sweep import load, plan, sweep
    from regjax.engine.tune import tune
    from regjax.research.hypergradients import hypergradient
    from regjax.sklearn.encoder import TableEncoder
    from regjax.sklearn.estimators import RegMLPClassifier, RegMLPRegressor
    from regjax.sklearn.fitted import fit
    from regjax.sklearn.halving import RegHalvingGridSearchCV, RegHalvingRandomSearchCV
    from regjax.sklearn.path import RegPathCV
    from regjax.sklearn.rules import one_se
    from regjax.sklearn.search import RegGridSearchCV, RegRandomizedSearchCV
    from regjax.store.model_file import load_model, save_model
    from regjax.store.onnx_file import export_onnx
    from regjax.study.explore import Explore
    from regjax.study.grid import Grid, grid, random_grid, sobol_grid
    from regjax.study.model import Model
    from regjax.study.plan import Plan
    from regjax.study.population import Population
    from regjax.study.questions import Questions
    from regjax.study.results import Results
    from regjax.study.schedule import Schedule
    from regjax.study.sensitivities import Sensitivities
    from regjax.study.space import DEFAULT_SPACE, Maybe, Where
    from regjax.study.tuned import Search, Tuned

    __version__: str

__all__ = [
    "Config",
    "HParams",
    "Data",
    "load_mat",
    "load_npz",
    "load_table",
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
    "tune",
    "Tuned",
    "Search",
    "Maybe",
    "Where",
    "DEFAULT_SPACE",
    "Questions",
    "Results",
    "load",
    "plan",
    "Plan",
    "population",
    "Population",
    "Explore",
    "Schedule",
    "train_schedule",
    "refit",
    "references",
    "hypergradient",
    "sensitivities",
    "Sensitivities",
    "Model",
    "save_model",
    "load_model",
    "export_onnx",
    "fit",
    "TableEncoder",
    "RegMLPClassifier",
    "RegMLPRegressor",
    "RegGridSearchCV",
    "RegRandomizedSearchCV",
    "RegHalvingGridSearchCV",
    "RegHalvingRandomSearchCV",
    "RegPathCV",
    "one_se",
]

_DEFINED_IN = {
    "core.config": "Config",
    "core.data": "Data",
    "core.dropout": "dropout_masks",
    "core.gradient_check": "check_gradient",
    "core.hparams": "HParams",
    "core.mlp": "Layer backward forward init_params predict predict_proba",
    "core.objective": "cost cost_and_grads",
    "core.random": "replicate_key",
    "core.train": "Trained make_train",
    "data.datasets": "two_regions",
    "data.loaders": "load_mat load_npz load_table",
    "engine.population": "population train_schedule",
    "engine.references": "references",
    "engine.refit": "refit",
    "engine.sensitivities": "sensitivities",
    "engine.sweep": "load plan sweep",
    "engine.tune": "tune",
    "research.hypergradients": "hypergradient",
    "sklearn.encoder": "TableEncoder",
    "sklearn.estimators": "RegMLPClassifier RegMLPRegressor",
    "sklearn.fitted": "fit",
    "sklearn.halving": "RegHalvingGridSearchCV RegHalvingRandomSearchCV",
    "sklearn.path": "RegPathCV",
    "sklearn.rules": "one_se",
    "sklearn.search": "RegGridSearchCV RegRandomizedSearchCV",
    "store.model_file": "load_model save_model",
    "store.onnx_file": "export_onnx",
    "study.explore": "Explore",
    "study.grid": "Grid grid random_grid sobol_grid",
    "study.model": "Model",
    "study.plan": "Plan",
    "study.population": "Population",
    "study.questions": "Questions",
    "study.results": "Results",
    "study.schedule": "Schedule",
    "study.sensitivities": "Sensitivities",
    "study.space": "DEFAULT_SPACE Maybe Where",
    "study.tuned": "Search Tuned",
}
_MODULE_OF = {name: module for module, names in _DEFINED_IN.items() for name in names.split()}
_PACKAGES = (
    "cli",
    "core",
    "data",
    "engine",
    "native",
    "optuna",
    "plot",
    "report",
    "research",
    "sklearn",
    "store",
    "study",
    "tutorial",
)


if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would accept any name

    def __getattr__(name):
        """Returns a public name, a package or the version; Python calls it once for each (PEP 562)."""
        if name in _MODULE_OF:
            value = getattr(importlib.import_module(f"regjax.{_MODULE_OF[name]}"), name)
        elif name in _PACKAGES:
            value = importlib.import_module(f"regjax.{name}")
        elif name == "datasets":  # a module of `regjax.data`, which users read under this name
            value = importlib.import_module("regjax.data.datasets")
        elif name == "__version__":
            from importlib.metadata import version  # takes 20 ms

            value = version("regjax")
        else:
            raise AttributeError(f"module 'regjax' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_PACKAGES, "datasets", "__version__"})
