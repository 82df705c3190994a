"""Optuna: a study's trials are trained many at once, and a sweep is exported as a study; docs/optuna.md.

    study = optuna.create_study(direction="maximize")
    regjax.optuna.optimize(study, data, {"l2": FloatDistribution(1e-4, 10, log=True)}, folds=5)

Users call both functions. They need Optuna, which is an extra of its own: pip install 'regjax[optuna]'.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regjax.optuna.export import as_study
    from regjax.optuna.trials import optimize

__all__ = ["optimize", "as_study"]

_MODULE_OF = {"optimize": "trials", "as_study": "export"}


# Optuna is imported where a function is asked for, so that `import regjax` works without it.
def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'regjax.optuna' has no attribute {name!r}")
    import importlib

    try:
        importlib.import_module("optuna")
    except ImportError:
        raise ImportError(
            "regjax.optuna must have Optuna, which is missing: pip install 'regjax[optuna]'"
        ) from None
    value = getattr(importlib.import_module(f"regjax.optuna.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
