"""The small sweep that most tests of the engine train."""

import regjax

__all__ = ["CONFIG", "GRID", "run"]

# Few metrics: the areas under curves are half of what is compiled to measure.
CONFIG = regjax.Config(num_steps=60, eval_every=20, metrics=("accuracy",))
GRID = regjax.grid(l2=[0, 0.1, 1], keep_prob=[1, (0.9, 0.8)], learning_rate=[0.1, 0.3])


def run(**options):
    options = {"seeds": 2, "folds": 3, "progress": False} | options
    return regjax.sweep("two_regions", options.pop("config", CONFIG), options.pop("grid", GRID), **options)
