"""Mixed tables that tests draw, and one like that of the Titanic's passengers."""

import numpy as np
import pandas as pd
from hypothesis import strategies as st


@st.composite
def mixed_frames(draw):
    """Frames without a target: a number x, and numbers, texts, booleans and dates, some with gaps."""
    n, random = draw(st.integers(8, 30)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = {"x": random.normal(size=n).round(3)}
    for j, kind in enumerate(draw(st.lists(st.sampled_from("nnccbd"), min_size=1, max_size=4))):
        columns[f"{kind}{j}"] = _column(draw, kind, n, random)
    return pd.DataFrame(columns)


def _column(draw, kind, n, random):
    if kind == "n":
        found = pd.Series(random.normal(size=n) * 10.0 ** draw(st.integers(-2, 3)))
    elif kind == "b":
        found = pd.Series(random.random(n) < 0.5, dtype=object)
    elif kind == "d":
        found = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 99, n), "D"))
    else:
        # Not both words and numbers: a column of numbers with a few words is refused.
        kinds = st.sampled_from([["a", "b", "c", "None", "NA", "é"], ["10", "9"]])
        levels = draw(kinds.flatmap(lambda of: st.lists(st.sampled_from(of), min_size=2, unique=True)))
        found = pd.Series(random.choice(levels, n), dtype=object)
    if draw(st.booleans()):
        found = found.mask(pd.Series(random.random(n) < 0.2))
    return found


def passengers(n=300, seed=0):
    """Returns a table like that of the Titanic's passengers, drawn anew: its columns, gaps and types."""
    random = np.random.default_rng(seed)
    sex = random.choice(["male", "female"], n, p=[0.65, 0.35])
    pclass = random.choice([1, 2, 3], n, p=[0.25, 0.2, 0.55])
    age = np.where(random.random(n) < 0.2, np.nan, random.gamma(6, 5, n).round(0))
    logit = 2.5 * (sex == "female") - 0.9 * (pclass - 1) - 0.4
    title = np.where(sex == "male", "Mr.", random.choice(["Mrs.", "Miss."], n))
    cabin = [f"{random.choice([*'ABCDE'])}{random.integers(1, 130)}" for _ in range(n)]
    return pd.DataFrame({
        "PassengerId": np.arange(1, n + 1),
        "Survived": (random.random(n) < 1 / (1 + np.exp(-logit))).astype(int),
        "Pclass": pclass,
        "Name": [f'Name{i}, {t} Given "Nick" {i % 7}' for i, t in enumerate(title)],
        "Sex": sex,
        "Age": age,
        "SibSp": random.choice([0, 1, 2, 3], n, p=[0.68, 0.23, 0.06, 0.03]),
        "Parch": random.choice([0, 1, 2], n, p=[0.76, 0.13, 0.11]),
        "Ticket": [f"PC {i * 7 % 900}" if i % 3 else str(110_000 + i // 6) for i in range(n)],
        "Fare": (random.gamma(2, 10, n) * (4 - pclass) / 2).round(4),
        "Cabin": pd.Series(cabin, dtype=object).mask(random.random(n) < 0.77),
        "Embarked": pd.Series(random.choice([*"SCQ"], n, p=[0.72, 0.19, 0.09]), dtype=object).mask(
            np.arange(n) % 150 == 61
        ),
    })  # fmt: skip
