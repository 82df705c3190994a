# %% [markdown]
# # Which dropout, which L2, which learning rate? A search as in scikit-learn
#
# **Answer:** `RegGridSearchCV` takes the place of `GridSearchCV` in a Pipeline, trains the networks of all
# candidates and folds side by side, and its `results_` say what scikit-learn's table does not: whether the
# winner is better than no regulariser, or only looks so.

# %%
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import regjax

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
folds = StratifiedKFold(5, shuffle=True, random_state=0)

# %% [markdown]
# ## The search
#
# The scaler is fitted in each fold on that fold's training part. 18 candidates × 5 folds × 2 seeds are 180
# networks.

# %%
network = regjax.RegMLPClassifier((32, 16), max_iter=100, tol=1e-3, random_state=0, dtype="float32")
pipeline = Pipeline([("scale", StandardScaler()), ("network", network)])
candidates = {
    "network__alpha": [0.0, 0.1, 10.0],
    "network__dropout": [0.0, 0.2, 0.5],
    "network__learning_rate_init": [0.003, 0.01],
}
search = regjax.RegGridSearchCV(
    pipeline,
    candidates,
    cv=folds,
    n_seeds=2,
    refit=regjax.one_se(),  # the simplest within one standard error of the best
)
begun = time.perf_counter()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # some candidates end at max_iter
    search.fit(X_train, y_train)
ours = time.perf_counter() - begun

scores = search.cv_results_["mean_test_score"]
print(f"best mean: {np.max(scores):.4f} (selected among {len(scores)}: optimistic)")
print(f"chosen: {search.best_params_}")
print(f"on samples that took no part: {search.score(X_test, y_test):.4f}")

# %% [markdown]
# ## What the table of scores does not say
#
# Each regularised arm against none, both at their own best learning rates.

# %%
comparison = search.results_.compare({"l2": 0.0, "keep_prob": 1.0}, over=["learning_rate"])
comparison

# %%
regjax.plot.heatmap(search.results_)

# %%
regjax.plot.curves(search.results_)

# %% [markdown]
# ## Beside `GridSearchCV`
#
# scikit-learn's network has no dropout, so the same question has fewer candidates there: 6 × 5 folds, one
# seed each.

# %%
theirs = GridSearchCV(
    Pipeline(
        [
            ("scale", StandardScaler()),
            ("network", MLPClassifier((32, 16), max_iter=100, tol=1e-3, random_state=0)),
        ]
    ),
    {name: values for name, values in candidates.items() if name != "network__dropout"},
    cv=folds,
    n_jobs=2,
)
begun = time.perf_counter()
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    theirs.fit(X_train, y_train)
took = time.perf_counter() - begun

rows = {
    "RegGridSearchCV": (len(scores) * 5 * 2, ours, search.score(X_test, y_test)),
    "GridSearchCV": (len(theirs.cv_results_["params"]) * 5, took, theirs.score(X_test, y_test)),
}
beside = pd.DataFrame(rows, index=["networks", "seconds", "accuracy on new samples"]).T
beside["networks per second"] = beside["networks"] / beside["seconds"]
beside.round(3)

# %% [markdown]
# The seconds hold for the machine that made this page, and compiling is among them; on a table of this
# size a small search is about starting up, and a large one about training.

# %%
assert search.score(X_test, y_test) > 0.9
assert len(comparison.table) == 8
assert set(comparison.table["verdict"]) <= {"helps", "hurts", "not separated"}
