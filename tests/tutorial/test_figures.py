import jax
import numpy as np
import pytest

import regjax
from regjax.tutorial import figures
from regjax.tutorial.experiment import Run

CONFIG = regjax.Config(layer_sizes=(2, 3, 1))


def run(name, finite=True):
    params = regjax.init_params(regjax.replicate_key(0), CONFIG.layer_sizes)
    history = {
        "step": np.array([0, 10]),
        "finite": np.array([True, finite]),
        **dict.fromkeys(("cost", "train_loss", "test_loss"), np.array([0.7, 0.3])),
        **dict.fromkeys(("train_accuracy", "test_accuracy"), np.array([0.5, 0.875])),
    }
    return Run(name, 0.7, 0.86, jax.tree.map(np.asarray, params), history)


@pytest.fixture(scope="module")
def train():
    return regjax.two_regions(jax.random.key(0))[0]


def test_the_data_set_has_a_panel_for_each_part(train):
    figure = figures.dataset(train, train)
    assert [ax.get_title() for ax in figure.axes] == ["train: 211 points", "test: 211 points"]


def test_costs_name_the_networks():
    left, right = figures.cost_curves([run("none"), run("l2")]).axes
    assert [line.get_label() for line in left.lines] == ["none", "l2"]
    assert len(right.lines) == 4  # training and test loss of each
    assert "not comparable across runs" in left.get_title()


def test_boundaries_say_the_setting_and_the_accuracies(train):
    runs = [run("none"), run("l2"), run("dropout", finite=False)]
    axes = figures.decision_boundaries(runs, train, CONFIG, resolution=20).axes
    assert [ax.get_title() for ax in axes] == [
        "no regularisation\ntrain 87.5%, test 87.5%",
        "L2, λ = 0.7\ntrain 87.5%, test 87.5%",
        "dropout, keep_prob = 0.86\ndiverged",
    ]


def test_masks_have_a_panel_for_each_hidden_layer():
    figure = figures.masks([np.ones((20, 30)), np.zeros((3, 30))], 0.86, "at step 0")
    assert [ax.get_title() for ax in figure.axes[:2]] == [
        "hidden layer 1: 100.0% kept",
        "hidden layer 2: 0.0% kept",
    ]
    title = figure.get_suptitle()
    assert "keep_prob = 0.86" in title
    assert "at step 0" in title
