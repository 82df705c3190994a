"""Random programs of scikit-learn's networks and searches, for tests/sklearn/test_peer_random.py.

Sizes are drawn from few values, so that few programs are compiled.
"""

from typing import Any

import numpy as np

TASKS = ["binary", "strings", "three", "three strings", "labels", "real", "real", "outputs", "counts"]
USES = ["fit", "fit", "warm", "partial", "clone", "search", "search", "search", "pipeline"]
# Names of the scorers that fit each kind of targets.
SCORERS = {
    "classes": ["accuracy", "neg_log_loss", "balanced_accuracy", "f1_macro"],
    "labels": ["accuracy", "f1_micro"],
    "real": ["r2", "neg_mean_squared_error", "neg_median_absolute_error"],
}


class Draws:
    """A seeded source of choices."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = np.random.default_rng([seed, number])

    def one(self, *values: Any) -> Any:
        """Returns one of the values."""
        return values[self.random.integers(len(values))]

    def sometimes(self, chance: float) -> bool:
        """Returns True with this chance."""
        return bool(self.random.random() < chance)


def draw_program(seed: int, number: int) -> list[str]:
    """Returns the statements of a program; the same for the same numbers."""
    draw = Draws(seed, number)
    task, use = draw.one(*TASKS), draw.one(*USES)
    count = draw.one(12, 30, 30, 60)
    program = [*_data(draw, task, count, number), f"sample_weight = {_weights(draw)}"]
    settings = _settings(draw, task, use)
    if use == "search" or settings["solver"] == "'lbfgs'":
        # Networks that are trained together do not print in turn, and lbfgs as SciPy's version does.
        settings.pop("verbose", None)
    if use == "search":
        settings["random_state"] = settings["random_state"].replace("None", "2")
    name = "MLPRegressor" if task in ("real", "outputs", "counts") else "MLPClassifier"
    model = f"{name}({_arguments(settings)})"
    weights = "" if "None" in program[-1] else ", sample_weight=sample_weight"
    if settings.get("random_state") == "None":
        program.append("np.random.seed(5)")
    made = {"warm": _warm, "partial": _partial, "clone": _clone}.get(use)
    if made is not None:
        program += made(draw, model, task, weights)
    elif use == "search":
        program += _search(draw, model, task, weights, settings)
    else:
        if use == "pipeline":
            model = f"Pipeline([('scale', StandardScaler()), ('net', {model})])"
            weights = weights.replace(", sample", ", net__sample")
        program += [f"model = {model}", f"model.fit(X, y{weights})"]
    if "refit=False" not in program[-1] + program[-2]:
        program.append("found = model.predict(X)")
        if name == "MLPClassifier":
            program.append("found = model.predict_proba(X)")
        if not (use == "search" and "scoring=[" in " ".join(program)):
            program.append("found = model.score(X, y)")
    return program


def _data(draw: Draws, task: str, count: int, number: int) -> list[str]:
    """Returns the statements that make X and y."""
    lines = [f"rng = np.random.default_rng({number})", f"X = rng.standard_normal(({count}, 3))"]
    targets = {
        "binary": "y = (X[:, 0] + rng.standard_normal(len(X)) > 0).astype(int)",
        "strings": "y = np.where(X[:, 0] + rng.standard_normal(len(X)) > 0, 'yes', 'no')",
        "three": "y = np.digitize(X[:, 0] + 0.5 * rng.standard_normal(len(X)), [-0.5, 0.5]) + 4",
        "three strings": "y = np.array(['a', 'bb', 'c'])[np.digitize(X[:, 0], [-0.5, 0.5])]",
        "labels": "y = (X[:, :2] + rng.standard_normal((len(X), 2)) > 0).astype(int)",
        "real": "y = X[:, 0] - X[:, 1] ** 2 + 0.1 * rng.standard_normal(len(X))",
        "outputs": "y = np.stack([X[:, 0], X[:, 1] ** 2], axis=1)",
        "counts": "y = rng.poisson(np.exp(X[:, 0]))",
    }
    lines.append(targets[task])
    if task == "real" and draw.sometimes(0.15):
        lines.append("y = np.full(len(X), 2.5)")
    elif task == "real" and draw.sometimes(0.2):
        lines.append("y = 100 * y + 1000")
    if draw.sometimes(0.3):
        lines.append("X = X * np.array([1.0, 30.0, 1000.0]) + np.array([0.0, 5.0, 300.0])")
    if draw.sometimes(0.25):
        lines.append("X = X.astype(np.float32)")
    elif draw.sometimes(0.1):
        lines.append("X = pd.DataFrame(X, columns=['a', 'b', 'c'])")
    elif draw.sometimes(0.1):
        lines.append("X = sparse.csr_matrix(X)")
    return lines


def _weights(draw: Draws) -> str:
    """Returns an expression of sample weights."""
    return draw.one(
        *["None"] * 4,
        "rng.uniform(0.5, 2, X.shape[0])",
        "rng.integers(0, 3, X.shape[0]) + (np.arange(X.shape[0]) == 1.0)",
    )


def _settings(draw: Draws, task: str, use: str) -> dict[str, str]:
    """Returns parameters of a network, as the source texts of their values; many are scikit-learn's own."""
    choices: dict[str, tuple[str, ...]] = {
        "hidden_layer_sizes": ("(5,)", "(5,)", "5", "(4, 3)", "[5]", "()"),
        "activation": ("'relu'", "'relu'", "'tanh'", "'logistic'", "'identity'"),
        "alpha": ("0.0001", "0.0001", "0", "0.3", "1000.0"),
        "learning_rate_init": ("0.01", "0.01", "0.001", "0.1", "1.0"),
        "max_iter": ("12", "12", "1", "30", "60"),
        "random_state": ("0", "0", "1", "7", "np.random.RandomState(3)", "None"),
        "batch_size": ("'auto'", "'auto'", "'auto'", "7", "10", "100"),
        "shuffle": ("True", "True", "False"),
        "tol": ("0.0001", "0.0001", "0.0", "0.01", "0.5"),
        "n_iter_no_change": ("10", "10", "1", "3", "np.inf"),
        "solver": ("'adam'", "'adam'", "'sgd'", "'sgd'", "'lbfgs'"),
    }
    settings = {name: draw.one(*values) for name, values in choices.items()}
    more = {
        "'adam'": {"beta_1": ("0.0", "0.5"), "beta_2": ("0.0", "0.9"), "epsilon": ("0.001", "1e-12")},
        "'sgd'": {
            "learning_rate": ("'invscaling'", "'adaptive'"), "power_t": ("0.25", "1.5"),
            "momentum": ("0", "0.5", "1.0"), "nesterovs_momentum": ("False",),
        },
        "'lbfgs'": {"max_fun": ("5", "40")},
    }[settings["solver"]]  # fmt: skip
    settings |= {name: draw.one(*values) for name, values in more.items() if draw.sometimes(0.4)}
    if use != "partial" and draw.sometimes(0.25):
        settings |= {"early_stopping": "True", "validation_fraction": draw.one("0.1", "0.2", "0.5")}
    if task == "counts" and draw.sometimes(0.7):
        settings["loss"] = "'poisson'"
    if draw.sometimes(0.05):
        settings["verbose"] = "True"
    return settings


def _arguments(settings: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _changed(draw: Draws) -> str:
    """Returns changed parameters, as the source text of arguments; the shapes of weights stay."""
    return draw.one(
        "max_iter=5",
        "learning_rate_init=0.05",
        "alpha=0.5",
        "tol=0.2",
        "n_iter_no_change=2",
        "batch_size=6",
        "shuffle=False",
        "solver='sgd'",
        "early_stopping=False",
        "random_state=9",
    )


def _warm(draw: Draws, model: str, task: str, weights: str) -> list[str]:
    changes = [_changed(draw), _changed(draw)]
    lines = [f"model = {model}.set_params(warm_start=True)", f"model.fit(X, y{weights})"]
    for change in changes:
        lines += [f"model.set_params({change})", f"model.fit(X, y{weights})"]
    return lines


def _partial(draw: Draws, model: str, task: str, weights: str) -> list[str]:
    classes = {"labels": "", "real": "", "outputs": "", "counts": ""}.get(task, ", classes=np.unique(y)")
    lines = [f"model = {model}", f"model.partial_fit(X, y{classes}{weights})"]
    for _ in range(draw.one(1, 2, 3)):
        if draw.sometimes(0.4):
            lines.append(f"model.set_params({_changed(draw)})")
        lines.append(draw.one(
            f"model.partial_fit(X, y{weights})", f"model.partial_fit(X, y{weights})",
            "model.partial_fit(X[:9], y[:9])", "model.fit(X, y)",
        ))  # fmt: skip
    return lines


def _clone(draw: Draws, model: str, task: str, weights: str) -> list[str]:
    return [
        f"model = {model}",
        f"model.fit(X, y{weights})",
        f"model = clone(model).set_params({_changed(draw)})",
        f"model.fit(X, y{weights})",
    ]


AXES = {
    "alpha": "[0.001, 1.0]",
    "learning_rate_init": "[0.01, 0.1]",
    "hidden_layer_sizes": "[(5,), (4, 3)]",
    "activation": "['tanh', 'relu']",
    "solver": "['adam', 'sgd', 'lbfgs']",
    "batch_size": "[6, 'auto']",
    "max_iter": "[4, 12]",
    "tol": "[0.0001, 0.1]",
    "n_iter_no_change": "[2, 10]",
    "early_stopping": "[True, False]",
    "random_state": "[0, 4]",
    "shuffle": "[True, False]",
}
CVS = [
    "3",
    "2",
    "None",
    "KFold(2)",
    "ShuffleSplit(2, test_size=0.3, random_state=0)",
    "TimeSeriesSplit(2)",
    "[(rng.integers(0, X.shape[0], X.shape[0]), np.arange(0, X.shape[0], 3)) for _ in range(2)]",
    "[(np.arange(X.shape[0] - 6), np.arange(-6, 0)), (np.arange(-8, 0), np.arange(4))]",
]


def _search(draw: Draws, model: str, task: str, weights: str, settings: dict[str, str]) -> list[str]:
    kind = {"labels": "labels", "real": "real", "outputs": "real", "counts": "real"}.get(task, "classes")
    prefix = ""
    if draw.sometimes(0.25):
        prefix = "net__"
        model = f"Pipeline([('scale', StandardScaler()), ('net', {model})])"
        weights = weights.replace(", sample", f", {prefix}sample")
    names = draw.random.permutation(list(AXES))[: draw.one(1, 1, 2)]
    grid = ", ".join(f"'{prefix}{name}': {AXES[name]}" for name in names)
    options = {"cv": draw.one(*CVS)}
    if draw.sometimes(0.4):
        options["return_train_score"] = "True"
    scorers = SCORERS[kind]
    if draw.sometimes(0.2):
        options |= {"scoring": repr(scorers[:2]), "refit": draw.one(repr(scorers[0]), "False")}
    elif draw.sometimes(0.4):
        options["scoring"] = draw.one(
            *map(repr, scorers), "lambda model, X, y: float(model.predict(X[:1]).size)"
        )
    elif draw.sometimes(0.15):
        options["refit"] = "False"
    if draw.sometimes(0.25):
        grid = grid.replace("[0.001, 1.0]", "scipy.stats.loguniform(1e-4, 1)")
        more = _arguments(
            {"n_iter": "2", "random_state": draw.one("0", "np.random.RandomState(2)")} | options
        )
        made = f"RandomizedSearchCV({model}, {{{grid}}}, {more})"
    else:
        made = f"GridSearchCV({model}, {{{grid}}}, {_arguments(options)})"
    return [f"model = {made}", f"model.fit(X, y{weights})"]
