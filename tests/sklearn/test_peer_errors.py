"""What scikit-learn's networks and searches refuse: ours refuse it with the same exception, in its words.

A case is the statements that make `model`, and the call that is refused. `X` `(30, 3)`, `y` of two classes,
`t` of real targets, `clf`, `reg` and the searches' `grid` are there for all.
"""

import re

import pytest
from peer_runs import OURS, PEERS, as_script, differences, run, words

pytestmark = pytest.mark.filterwarnings("ignore")

GIVEN = [
    "rng = np.random.default_rng(0)",
    "X = rng.standard_normal((30, 3))",
    "y = (X[:, 0] > 0).astype(int)",
    "t = X[:, 0] + X[:, 1]",
    "net = {'hidden_layer_sizes': (4,), 'max_iter': 3, 'random_state': 0}",
    "clf, reg = MLPClassifier(**net), MLPRegressor(**net)",
    "grid = {'alpha': [0.1, 1.0]}",
]
# Each: an id, then the statements; the last is refused.
PARAMETERS = [
    f"clf.set_params({parameter}).fit(X, y)"
    for parameter in (
        "alpha=-1", "alpha='much'", "alpha=None", "activation='swish'", "solver='rmsprop'", "batch_size=0",
        "batch_size='full'", "batch_size=2.5", "learning_rate='fast'", "learning_rate_init=0",
        "learning_rate_init=-0.1", "power_t=-1", "max_iter=0", "max_iter=2.5", "shuffle='yes'",
        "random_state='seed'", "random_state=-1", "tol=-1", "verbose='loud'", "warm_start=3", "momentum=1.5",
        "nesterovs_momentum='on'", "early_stopping='no'", "validation_fraction=1.0", "beta_1=1.0",
        "beta_2=-0.1", "epsilon=0", "n_iter_no_change=0", "max_fun=0", "hidden_layer_sizes=-1",
        "hidden_layer_sizes=(0,)", "hidden_layer_sizes=(4, -2)", "hidden_layer_sizes='many'",
        "hidden_layer_sizes=(3.9,)", "hidden_layer_sizes=None", "hidden_layer_sizes=2.5", "alhpa=1",
    )
] + [
    "reg.set_params(loss='huber').fit(X, t)",
    "MLPClassifier(alhpa=1)",
]  # fmt: skip
DATA = [
    "clf.fit(X[:, 0], y)",
    "clf.fit(X[:, :0], y)",
    "clf.fit(X[:0], y[:0])",
    "clf.fit(X[None], y)",
    "clf.fit(X, y[:20])",
    "clf.fit(X, None)",
    "clf.fit(X)",
    "clf.fit(None, y)",
    "clf.fit(np.where(X > 2, np.nan, X) * np.array([1, np.nan, 1]), y)",
    "clf.fit(X * np.array([1, np.inf, 1]), y)",
    "clf.fit(X + 1j, y)",
    "clf.fit([['a', 'b']] * 30, y)",
    "clf.fit(X.astype(str).astype(object) + 'x', y)",
    "clf.fit(X, t)",
    "clf.fit(X, np.where(y > 0, np.nan, 1.0))",
    "clf.fit(X, np.stack([y, 2 * y], axis=1))",
    "clf.fit(X, [{'a'}] * 30)",
    "reg.fit(X, np.where(y > 0, np.nan, t))",
    "reg.fit(X, np.where(y > 0, np.inf, t))",
    "reg.fit(X, np.where(y > 0, 'a', 'b'))",
    "reg.fit(X, t[:20])",
    "reg.fit(X, None)",
    "reg.fit(X, np.zeros((30, 2, 2)))",
    "clf.fit(X, y, sample_weight=np.ones(20))",
    "clf.fit(X, y, sample_weight=np.ones((30, 2)))",
    "clf.fit(X, y, sample_weight=np.where(y > 0, np.nan, 1.0))",
    "clf.fit(X, y, sample_weight=['a'] * 30)",
    "clf.fit(X, y, weight=np.ones(30))",
    "clf.set_params(early_stopping=True).fit(X[:5], y[:5])",
    "clf.set_params(early_stopping=True).fit(X, np.arange(30) == 3)",
    "reg.set_params(early_stopping=True, validation_fraction=0.01).fit(X, t)",
    "reg.set_params(early_stopping=True, validation_fraction=0.99).fit(X[:2], t[:2])",
    "MLPRegressor(solver='sgd', learning_rate_init=1e3, activation='identity', max_iter=60).fit(X, t * 100)",
]
FITTED = [
    "clf.predict(X)",
    "clf.predict_proba(X)",
    "clf.score(X, y)",
    "reg.predict(X)",
    "clf.fit(X, y).predict(X[:, :2])",
    "clf.fit(X, y).predict(X[0])",
    "clf.fit(X, y).predict(np.full((2, 3), np.nan))",
    "clf.fit(X, y).predict([['a', 'b', 'c']])",
    "clf.fit(X, y).score(X, y[:9])",
    "clf.fit(pd.DataFrame(X, columns=list('abc')), y).predict(pd.DataFrame(X, columns=list('abd')))",
    "clf.fit(pd.DataFrame(X, columns=list('abc')), y).predict(pd.DataFrame(X, columns=list('cba')))",
    "clf.partial_fit(X, y)",
    "clf.partial_fit(X, y, classes=[0])",
    "clf.partial_fit(X, y, classes=[0, 1]).partial_fit(X, y, classes=[0, 1, 2])",
    "clf.partial_fit(X, y, classes=[0, 1]).partial_fit(X, y + 1)",
    "clf.partial_fit(X, y, classes=[0, 1]).partial_fit(X[:, :2], y)",
    "clf.set_params(early_stopping=True).partial_fit(X, y, classes=[0, 1])",
    "clf.set_params(solver='lbfgs').partial_fit",
    "reg.partial_fit(X, t).partial_fit(X, np.stack([t, t], axis=1))",
    "clf.set_params(warm_start=True).fit(X, y).fit(X, y + 1)",
    "clf.set_params(warm_start=True).fit(X, y).fit(X[:, :2], y)",
    "clf.transform(X)",
    "reg.fit(X, t).predict_proba(X)",
    "clf.fit(X, y).get_params(deep=True)['dropuot']",
]
SEARCHES = [
    f"GridSearchCV({arguments}).fit(X, y)"
    for arguments in (
        "clf, {'alpha': []}", "clf, {'alpha': 0.1}", "clf, {'alpha': 'auto'}", "clf, [0.1, 1]", "clf, None",
        "clf, {'alhpa': [0.1]}", "clf, {'alpha': np.ones((2, 2))}", "clf, {'net__alpha': [0.1]}",
        "clf, grid, cv=1", "clf, grid, cv=0", "clf, grid, cv='five'", "clf, grid, cv=2.5", "clf, grid, cv=31",
        "clf, grid, cv=[]", "clf, grid, cv=iter([])", "clf, grid, cv=[(np.arange(40), np.arange(3))]",
        "clf, grid, scoring='acuracy'", "clf, grid, scoring=['accuracy', 'f2']", "clf, grid, scoring=3",
        "clf, grid, scoring=[]", "clf, grid, scoring=['accuracy', 'accuracy']", "clf, grid, scoring={}",
        "clf, grid, scoring=['accuracy', 'roc_auc']", "clf, grid, scoring=['accuracy'], refit='f1'",
        "clf, grid, scoring=['accuracy'], refit=True", "clf, grid, refit=lambda results: 7",
        "clf, grid, refit=lambda results: 'best'", "clf, grid, scoring=lambda model, X, y: 'good'",
        "clf, grid, scoring=lambda model, X, y: {'a': 'b'}", "clf, grid, error_score='nan'",
        "clf, grid, error_score=None", "clf, grid, n_jobs=0, cv=2", "clf, grid, n_jobs='all'",
        "clf, grid, return_train_score='yes'", "clf, grid, verbose=-1", "clf, grid, verbose='loud'",
        "clf, {'alpha': [-1.0, -2.0]}, cv=2",
        "clf, {'alpha': [-1.0, 0.1]}, cv=2, error_score='raise'", "clf, {'solver': ['rmsprop']}, cv=2",
        "clf, {'hidden_layer_sizes': [(0,)]}, cv=2, error_score='raise'", "MLPClassifier, grid", "None, grid",
        "'network', grid", "StandardScaler(), grid", "Pipeline([('net', clf)]), grid",
        "Pipeline([('net', clf)]), {'net__alhpa': [0.1]}",
        "Pipeline([('a', 3), ('net', clf)]), {'net__alpha': [0.1]}",
    )
] + [
    "GridSearchCV(clf)",
    "GridSearchCV(clf, grid, metric='accuracy')",
    "GridSearchCV(clf, grid, cv=2).fit(X, y[:20])",
    "GridSearchCV(clf, grid, cv=2).fit(X, None)",
    "GridSearchCV(clf, grid, cv=2).fit(X)",
    "GridSearchCV(clf, grid, cv=2).fit(X * np.array([1, np.nan, 1]), y)",
    "GridSearchCV(clf, grid, cv=2, error_score='raise').fit(X * np.array([1, np.inf, 1]), y)",
    "GridSearchCV(clf, grid, cv=2).fit(X, t)",
    "GridSearchCV(clf, grid, cv=2).fit(X, y, sample_weight=np.ones(20))",
    "GridSearchCV(clf, grid, cv=2).fit(X, y, weight=np.ones(30))",
    "GridSearchCV(clf, grid, cv=2).fit(X, y, groups=np.ones(20))",
    "GridSearchCV(clf, grid, cv=2).predict(X)",
    "GridSearchCV(clf, grid, cv=2).score(X, y)",
    "GridSearchCV(clf, grid, cv=2, refit=False).fit(X, y).predict(X)",
    "GridSearchCV(clf, grid, cv=2, refit=False).fit(X, y).score(X, y)",
    "GridSearchCV(clf, grid, cv=2, refit=False).fit(X, y).best_estimator_",
    "GridSearchCV(clf, grid, cv=2).fit(X, y).transform(X)",
    "GridSearchCV(reg, grid, cv=2).fit(X, t).predict_proba(X)",
    "GridSearchCV(clf, grid, cv=2).fit(X, y).predict(X[:, :2])",
    "RandomizedSearchCV(clf, grid, n_iter=0).fit(X, y)",
    "RandomizedSearchCV(clf, grid, n_iter='few').fit(X, y)",
    "RandomizedSearchCV(clf, {'alpha': 0.1}).fit(X, y)",
    "RandomizedSearchCV(clf, grid, n_iter=2, cv=2, random_state='seed').fit(X, y)",
    "RandomizedSearchCV(clf, {'alpha': scipy.stats.uniform(-2, 1)}, n_iter=2, random_state=0).fit(X, y)",
]  # fmt: skip
# What could be refused, and is not: by neither.
TAKEN = [
    "reg.set_params(loss='poisson').fit(X, -np.abs(t) - 1)",
    "MLPClassifier((4,), 'relu')",
    "clf.fit(X, np.zeros(30))",
    "clf.set_params(warm_start=True).fit(X, y).set_params(hidden_layer_sizes=(7,)).fit(X, y)",
    "GridSearchCV(clf, {}, cv=2).fit(X, y)",
    "GridSearchCV(clf, grid, cv=2, pre_dispatch='2 *').fit(X, y)",
    "RandomizedSearchCV(clf, {}, cv=2).fit(X, y)",
]
# Where NumPy or Python speaks through scikit-learn, ours says what is wrong, by an exception of that kind.
OTHER_WORDS = {
    "clf.set_params(hidden_layer_sizes=(3.9,)).fit(X, y)": "hidden_layer_sizes must hold whole numbers, got",
    "reg.fit(X, np.where(y > 0, 'a', 'b'))": "y must hold numbers, got dtype <U1",
    "reg.partial_fit(X, t).partial_fit(X, np.stack([t, t], axis=1))": "y must have as many outputs as in the "
    "previous call to fit, 1, got 2",
    "clf.fit(X, y).predict([['a', 'b', 'c']])": "could not convert string to float: 'a'",
}
# Names of the core, which users of the estimators do not know.
CORE = re.compile(r"\b(keep_prob|l2|eps|b1|b2|num_steps|Chex|jax)\b", re.IGNORECASE)


def said(error):
    """Returns the words of an error, but for lists of what is allowed, which are longer in ours."""
    text = re.sub(r"\{[^{}]*\}|valid parameters are: \[.*?\]", "…", words(error))
    return re.sub(r"\w+(?=\.fit\(\))", "", text)


@pytest.mark.sampled(36)
@pytest.mark.parametrize("case", [*PARAMETERS, *DATA, *FITTED, *SEARCHES])
def test_what_scikit_learn_refuses_is_refused_in_its_words(case):
    peer, ours = (run([*GIVEN, case], classes)[-1].error for classes in (PEERS, OURS))
    assert peer is not None, "scikit-learn takes it"
    script = as_script([*GIVEN, case], "ours")
    if case in OTHER_WORDS:
        assert isinstance(peer, type(ours)), f"{peer!r}\n{ours!r}\n\n{script}"
        assert OTHER_WORDS[case] in str(ours), script
    else:
        assert type(ours) is type(peer), f"{peer!r}\n{ours!r}\n\n{script}"
        assert said(ours) == said(peer), script
    assert not CORE.search(str(ours))


@pytest.mark.parametrize("case", TAKEN)
def test_what_scikit_learn_takes_is_taken(case):
    program = [*GIVEN, f"model = {case}"]
    found = differences(run(program, PEERS), run(program, OURS), 1e-8, 1e-8)
    assert not found, "\n".join(["", *found, "", as_script(program, "ours")])
