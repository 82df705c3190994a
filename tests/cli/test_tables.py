"""Tables of a user by one command: what was made of each column, and what is refused in one line."""

import gzip
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import tables
from command_line import regjax

from regjax.study.resolve import make_design

QUICK = ["--hidden", 4, "--steps", 20, "--folds", 3, "--seeds", 1, "--l2", "0,1", "--no-store"]
RANDOM = np.random.default_rng(3)
PLAIN = pd.DataFrame({
    "size": RANDOM.normal(size=40).round(3), "town": ["p", "q"] * 20, "kind": ["x", "y", "y", "x"] * 10
})  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Returns a folder of tables, most with one thing wrong."""
    folder = tmp_path_factory.mktemp("tables")

    def save(name, frame):
        frame.to_csv(folder / name, index=False)

    save("good.csv", PLAIN)
    save("gaps.csv", PLAIN.assign(kind=PLAIN["kind"].mask(PLAIN.index.isin([3, 7]))))
    save("one_class.csv", PLAIN.assign(kind="x"))
    names = [f"name {i}" for i in range(40)]
    save("nothing_left.csv", PLAIN[["kind"]].assign(number=range(40), name=names, c=3).iloc[:, ::-1])
    save(
        "words.csv",
        PLAIN.astype({"size": object}).assign(size=PLAIN["size"].where(PLAIN.index % 20 != 9, "n.a.")),
    )
    save("infinite.csv", PLAIN.assign(size=PLAIN["size"].where(PLAIN.index != 5, np.inf)))
    save("levels.csv", PLAIN.assign(town=names))
    save("twice.csv", PLAIN.rename(columns={"town": "size"}))
    save("test_less.csv", PLAIN.drop(columns="town"))
    save("test_more.csv", PLAIN.assign(more=1))
    save("test_other.csv", PLAIN.rename(columns={"size": "sizes"}))
    save("test_target.csv", PLAIN.rename(columns={"kind": "Kind"}))
    save("test_label.csv", PLAIN.assign(kind=PLAIN["kind"].where(PLAIN.index != 2, "z")))
    save("test_words.csv", PLAIN.assign(size="large"))
    lines = (folder / "good.csv").read_text().splitlines()
    long, short, mixed = list(lines), list(lines), list(lines)
    long[5] += ",7"
    short[5] = short[5].rpartition(",")[0]
    mixed[30:] = [line.replace(",", ";") for line in mixed[30:]]
    for name, changed in (("long.csv", long), ("short.csv", short), ("mixed.csv", mixed)):
        (folder / name).write_text("\n".join(changed) + "\n")
    return folder


# Arguments -> all that the line says after "regjax: error: ".
BAD = [
    (
        ["good.csv", "--target", "knid"],
        "good.csv: target must be one of 'size', 'town', 'kind', got 'knid'; did you mean kind?",
    ),
    (
        ["gaps.csv"],
        "gaps.csv: target 'kind' must have no gaps, got one in row 5 and 1 more: take these rows out, "
        "they cannot be learned from",
    ),
    (
        ["one_class.csv"],
        "one_class.csv: target 'kind' must have two classes at least, got 'x' in all rows: there is "
        "nothing to learn",
    ),
    (
        ["nothing_left.csv", "--target", "kind"],
        "nothing_left.csv: must have a column besides the target that can be an input, got none (c: "
        "left out: the same in all rows (3); name: left out: an identifier, diff",
    ),
    (["long.csv"], "long.csv: line 6 must have 3 values, got 4 values"),
    (["short.csv"], "short.csv: line 6 must have 3 values, got 2 values"),
    (["mixed.csv"], "mixed.csv: line 31 must have 3 values, got 1 value"),
    (
        ["words.csv"],
        "words.csv: column 'size' must hold numbers in all rows or be named a category, got 'n.a.' in "
        "row 11, row 31: --gaps takes such words as gaps, --columns size=category takes all values as "
        "categories",
    ),
    (
        ["twice.csv"],
        "twice.csv: must have a name of its own for each column, got 'size' for columns 1 and 2",
    ),
    (
        ["infinite.csv"],
        "infinite.csv: column 'size' must be finite, got inf in row 7: --gaps inf takes it as a gap",
    ),
    (
        ["levels.csv", "--columns", "town=category"],
        "levels.csv: column 'town' must have values that repeat to be a category, got 40 different ones "
        "in 40 rows: --columns town=drop leaves it out",
    ),
    (
        ["good.csv", "--test", "test_less.csv"],
        "test_less.csv: must have the columns of the training table, lacks 'town'",
    ),
    (
        ["good.csv", "--test", "test_more.csv"],
        "test_more.csv: must have the columns of the training table alone, got 'more' besides: take the "
        "column out",
    ),
    (
        ["good.csv", "--test", "test_other.csv"],
        "test_other.csv: must have the columns of the training table, lacks 'size', and has 'sizes' "
        "instead; is 'sizes' meant?",
    ),
    (
        ["good.csv", "--test", "test_target.csv"],
        "test_target.csv: must have the target 'kind', got the columns 'size', 'town', 'Kind'; did you "
        "mean Kind?",
    ),
    (
        ["good.csv", "--test", "test_label.csv"],
        "test_label.csv: target 'kind' must hold the classes x, y, got z in row 4",
    ),
    (
        ["good.csv", "--test", "test_words.csv"],
        "test_words.csv: column 'size' must hold numbers, got 'large' in row 2",
    ),
    (
        ["https://example.org/t.csv"],
        "data must be a name or a file, got the address 'https://example.org/t.csv': download it first",
    ),
    (["good.csv", "--test", "https://example.org/t.csv"], "data must be a name or a file, got the address"),
    (
        ["good.csv", "--columns", "twon=drop"],
        "good.csv: columns must name columns of the table ('size', 'town'), got 'twon'; did you mean town?",
    ),
    (
        ["good.csv", "--columns", "town=numeric"],
        "good.csv: column 'town' must hold numbers, got 'p' in row 2",
    ),
    (
        ["good.csv", "--columns", "town=text"],
        "good.csv: columns: town must be one of numeric, category, date, drop, got 'text'",
    ),
    (["good.csv", "--columns", "town"], "columns must be like age=numeric,town=category, got 'town'"),
    (
        ["good.csv", "--columns", "town=drop,town=date"],
        "columns must name each column once, got 'town' twice",
    ),
    (
        ["good.csv", "--columns", "town=drop,size=drop"],
        "good.csv: must have a column besides the target that can be an input",
    ),
    (
        ["good.csv", "--task", "regression"],
        "good.csv: target 'kind' must hold numbers for a regression, got 'x' in row 2",
    ),
    (
        ["good.csv", "--target", "size", "--task", "classification"],
        "good.csv: target 'size' must hold whole numbers or text as class labels",
    ),
    (["good.csv", "--groups", "patient"], "good.csv: groups must be one of 'size', 'town', got 'patient'"),
    (
        ["good.csv", "--time", "town"],
        "good.csv: time must hold numbers or dates in all rows, got 'p' in row 2",
    ),
    (["good.csv", "--weights", "size"], "good.csv: weights must be"),
    (["good.csv", "--data", "iris"], "data must be given once, got good.csv and --data iris"),
    (["iris", "--target", "a"], "target must only be given with a table"),
    (["nowhere.csv"], "nowhere.csv: No such file or directory"),
    (["good.csv", "--separator", "::"], "good.csv: separator must be one character or one of"),
    (["good.csv", "--decimal", ";"], "good.csv: decimal must be '.' or ',', got ';'"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
@pytest.mark.parametrize("command", ["sweep", "plan"])
def test_bad_tables_are_one_line_and_exit_code_two(command, arguments, words, files, tmp_path, monkeypatch):
    for name in arguments:
        if (files / name).is_file():
            shutil.copy(files / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    done = regjax(command, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"regjax: error: {words}")
    assert done.stderr.count("\n") == 1
    assert sorted(os.listdir()) == before


@pytest.mark.nightly
def test_the_passengers_of_a_ship_by_one_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables.passengers().to_csv("titanic.csv", index=False)
    done = regjax("sweep", "titanic.csv", "--target", "Survived", *QUICK, "--out", "o")
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    said = {columns.strip(): words.strip() for columns, _, words in (line.partition("  ") for line in lines)}
    assert said["11 columns, 14 inputs"] == ""
    assert said["PassengerId"] == "left out: a counter from 1 to 300, all different"
    assert said["Pclass, SibSp, Parch, Fare"] == "number"
    assert said["Name"] == "left out: an identifier, different in each row"
    assert said["Sex"] == "category: 2 levels"
    assert said["Age"].endswith("gaps filled with the median, and an input that says so")
    assert said["Ticket"].startswith("left out: ")
    assert said["Cabin"].endswith("gaps as a level")
    assert said["Embarked"] == "category: 3 levels, 2 gaps as a level"
    assert "target Survived: 2 classes: 0 (168), 1 (132)" in done.stdout
    assert sorted(os.listdir("o"))[:3] == ["choice.csv", "comparison.csv", "curves.png"]
    # The resolved sweep asks for the same.
    again = regjax("sweep", "o/sweep.toml", "--out", "again")
    assert again.returncode == 0, again.stderr
    one, other = (pd.read_csv(f"{folder}/results.csv").drop(columns="seconds") for folder in ("o", "again"))
    pd.testing.assert_frame_equal(one, other)
    # Pclass as a category has an input for each of its three classes.
    done = regjax("plan", "titanic.csv", "--target", "Survived", "--columns", "Pclass=category", "--no-probe")
    assert "16-32-1" in done.stdout


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "parquet", "feather", "xlsx"])
def test_the_same_table_in_every_kind_of_file(ending, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = tables.passengers(80)
    path = f"t.{ending}"
    if ending == "csv.gz":
        with gzip.open(path, "wt") as file:
            frame.to_csv(file, index=False)
    elif ending in ("csv", "tsv"):
        frame.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    else:
        pytest.importorskip("openpyxl" if ending == "xlsx" else "pyarrow")
        frame.to_excel(path, index=False) if ending == "xlsx" else getattr(frame, f"to_{ending}")(path)
    expected = make_design(frame, {"hidden": 3}, folds=2, target="Survived")
    found = make_design(path, {"hidden": 3}, folds=2, target="Survived")
    assert found.schema == expected.schema
    np.testing.assert_array_equal(found.data.y, expected.data.y)
    np.testing.assert_allclose(found.inputs(1)[0], expected.inputs(1)[0], rtol=1e-6)


@pytest.mark.slow
def test_compare_takes_a_table_by_the_same_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables.passengers(80).to_csv("t.csv", index=False)
    done = regjax("compare", "t.csv", "--target", "Survived", "--steps", 20, "--out", "o")
    assert done.returncode == 0, done.stderr
    assert " features: no pictures" in done.stdout
    for arguments, words in (
        (
            ["t.csv", "--target", "Pclass"],
            "t.csv: data must have labels of two classes, 0 and 1, for this loss, got 0, 1, 2",
        ),
        (["t.csv", "--target", "survived"], "t.csv: target must be one of 'PassengerId', 'Survived', "),
        (["t.csv", "--data", "t.csv"], "data must be given once, got t.csv and --data t.csv"),
        (["two_regions", "--target", "a"], "target must only be given with a table"),
    ):
        done = regjax("compare", *arguments, "--steps", 20, "--out", "o2")
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert not os.path.exists("o2")
