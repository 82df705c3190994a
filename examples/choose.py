# %% [markdown]
# # Which regulariser for this table?
#
# From a CSV file to a model that predicts new rows, in four calls: `sweep`, `compare`, `refit`, `predict`.
#
# **Answer:** on this table of 426 patients nobody can tell. Choosing a regulariser by cross-validation is
# not separated from taking none: the interval of the difference has 0 in it. That is an answer too; the
# model at the end predicts well either way.

# %%
import tempfile
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import regjax

# %% [markdown]
# ## A file
#
# Any CSV file with a line of names will do. This one comes with scikit-learn: 30 measurements of a tumour,
# and whether it was malignant. A quarter of the patients stay outside, as if they came later.

# %%
folder = Path(tempfile.mkdtemp())
table = load_breast_cancer(as_frame=True).frame
table["diagnosis"] = table.pop("target").map({0: "malignant", 1: "benign"})
known, later = train_test_split(table, test_size=0.25, stratify=table["diagnosis"], random_state=0)
known.to_csv(folder / "patients.csv", index=False)
known.iloc[:4, [0, 1, 2, -1]]

# %% [markdown]
# ## The question
#
# Five strengths of L2, with and without dropout; every configuration trains on the same five folds and two
# seeds. The plan says beforehand what that takes.

# %%
grid = regjax.grid(l2=[0, 0.1, 1, 10, 100], keep_prob=[1, 0.8], learning_rate=[0.01])
config = {"hidden": (16,), "optimizer": "adam", "num_steps": 400, "eval_every": 100}
regjax.plan(folder / "patients.csv", config, grid, target="diagnosis", folds=5, seeds=2)

# %%
results = regjax.sweep(folder / "patients.csv", config, grid, target="diagnosis", folds=5, seeds=2)
results

# %% [markdown]
# ## The answer
#
# The line in bold is the answer to the one question: *does choosing this way beat no regulariser?* Each
# fold is scored by a configuration that was chosen without it, so the score is not flattered by the
# choice. The comparison below has the differences one by one, with intervals that hold for all of them at
# once.

# %%
comparison = results.compare()
comparison

# %%
regjax.plot.forest(results)

# %% [markdown]
# ## Which one to take
#
# By the rule of one standard error: the simplest configuration that is not clearly worse than the best.

# %%
choice = results.best(rule="one_se")
choice

# %% [markdown]
# ## The model
#
# `refit` trains the chosen configuration on all known rows; the file holds the network, the scales and the
# names of the columns, and no pickled code.

# %%
model = regjax.refit(results, configuration=choice.index, seeds=3)
regjax.save_model(model, folder / "patients.safetensors")
loaded = regjax.load_model(folder / "patients.safetensors")
predicted = loaded.predict(later.drop(columns="diagnosis"))
right = (predicted == later["diagnosis"]).mean()
print(f"right on {right:.1%} of {len(later)} patients that took no part")

# %%
verdicts = set(comparison.table["verdict"])
assert verdicts <= {"helps", "hurts", "not separated"}
assert results.compare_choice().verdict == "not separated"
assert right > 0.9

# %% [markdown]
# The score on new patients has an error too: of 143 samples one is 0.7 points. It says that the model
# works; it does not say which regulariser is better.
