"""Which dropout, which L2, which learning rate? A search as in scikit-learn, and an honest reading of it.

A Pipeline with a StandardScaler; 45 candidates × 5 folds × 2 seeds; the paired table; two pictures.

    python examples/search.py
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import regjax
from regjax import plot


def main() -> None:
    """Runs the search, prints its tables and draws its pictures."""
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

    network = regjax.RegMLPClassifier((32, 16), max_iter=500, tol=1e-3, random_state=0, dtype="float32")
    pipeline = Pipeline([("scale", StandardScaler()), ("network", network)])
    search = regjax.RegGridSearchCV(
        pipeline,
        {
            "network__alpha": [0.0, 0.01, 0.1, 1.0, 10.0],
            "network__dropout": [0.0, 0.2, 0.5],
            "network__learning_rate_init": [0.001, 0.003, 0.01],
        },
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        n_seeds=2,
        refit=regjax.one_se(),  # the simplest within one standard error of the best
    )
    search.fit(X_train, y_train)

    scores = search.cv_results_["mean_test_score"]
    print(f"best mean: {np.max(scores):.4f} (selected among {len(scores)}: optimistic)")
    print(f"chosen: {search.best_params_}")
    print(f"on samples that took no part: {search.score(X_test, y_test):.4f}\n")

    # Each regularised arm against none, both at their own best learning rates.
    print(search.results_.compare({"l2": 0.0, "keep_prob": 1.0}, over=["learning_rate"]))

    plot.heatmap(search.results_).savefig("search-scores.png")
    plot.curves(search.results_).savefig("search-curves.png")
    print("\nwritten: search-scores.png, search-curves.png")


if __name__ == "__main__":
    main()
