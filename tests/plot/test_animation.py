"""Animations of boundaries: frames, their order, what `plot` and `compare` write, and what is refused."""

import os

import jax
import matplotlib
import numpy as np
import pytest
from command_line import regjax as regjax_command
from matplotlib.animation import FFMpegWriter
from matplotlib.figure import Figure
from PIL import Image, ImageSequence
from sklearn.linear_model import SGDClassifier

import regjax
from regjax.engine.snapshots import snapshots
from regjax.plot import animation
from regjax.plot.animation import HOLD, RATE, animate, check_animation, film
from regjax.plot.decision import animate_row, check_animated

DATA = regjax.datasets.moons(jax.random.key(0), n=60)
CONFIG = {"hidden": (4,), "num_steps": 40, "eval_every": 10}


def frames_of(path):
    """Returns the frames of a GIF, `(frames, height, width, 3)`, and how long each is shown, ms."""
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.info["loop"] == 0
        every = ImageSequence.Iterator(image)
        found = [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in every]
    pixels, durations = zip(*found, strict=True)
    return np.stack(pixels), list(durations)


def test_a_frame_for_each_state_and_the_last_one_stays(tmp_path):
    figure = Figure(figsize=(2, 2), layout="constrained")
    ax = figure.subplots()

    def frames():
        for width in (1, 2, 3):
            ax.clear()
            ax.axvspan(0, width, color="black")
            ax.set(xlim=(0, 4), ylim=(0, 1))
            yield

    film(figure, frames(), tmp_path / "a.gif")
    pixels, durations = frames_of(tmp_path / "a.gif")
    assert os.listdir(tmp_path) == ["a.gif"]
    assert len(pixels) == 3
    dark = (pixels < 100).all(axis=3).sum(axis=(1, 2))
    assert (np.diff(dark) > 500).all()
    each = 1000 // RATE
    assert durations == pytest.approx([each, each, each * (1 + HOLD * RATE)], abs=100)


@pytest.mark.slow
def test_a_model_that_trains_on_between_two_frames(tmp_path):
    model = SGDClassifier(loss="log_loss", random_state=0)
    X, y = np.asarray(DATA.x).T, DATA.y[0]

    def training():
        for step in range(4):
            model.partial_fit(X, y, classes=[0, 1])
            yield f"pass {step}", model

    animate(training(), X, y, path=str(tmp_path / "sgd.gif"))
    pixels, _ = frames_of(tmp_path / "sgd.gif")
    assert len(pixels) == 4
    assert model.t_ == 1 + 4 * len(X)
    # The axes stay where they are: what changes is inside them, and the title above.
    legends = pixels[:, -20:].astype(int)
    assert np.abs(legends - legends[:1]).max() < 60


def test_a_frame_that_fails_leaves_nothing(tmp_path):
    def frames():
        yield "good", lambda x: x[:, 0] > 0
        yield "bad", lambda x: x[:, 0] + 9

    with pytest.raises(ValueError, match="model must return labels, or probabilities"):
        animate(frames(), DATA, path=tmp_path / "a.gif")
    with pytest.raises(ValueError, match="frames must be one or more, got none"):
        animate([], DATA, path=tmp_path / "a.gif")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["a.png", "a", "a.GIFF", "gif"])
def test_other_endings_are_refused(path):
    with pytest.raises(ValueError, match=f"an animation must end in .gif, .mp4, got '{path}'"):
        check_animation(path)
    assert check_animation("A.GIF") == ".gif"


def test_without_ffmpeg_an_mp4_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda cls: False))
    with pytest.raises(ValueError, match=r"ffmpeg must be installed to write an \.mp4, and is not: write"):
        animate([("a", lambda x: x[:, 0] > 0)], DATA, path=tmp_path / "a.mp4")
    done = regjax_command("compare", "moons", "--steps", 5, "--animate", "mp4", "--out", tmp_path / "o")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "ffmpeg must be installed" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.nightly
def test_an_mp4_goes_through_ffmpeg(tmp_path, monkeypatch):
    # It says how many bytes of frames it was sent.
    fake = tmp_path / "ffmpeg"
    fake.write_text('#!/bin/sh\nfor last; do :; done\nwc -c > "$last"\n')
    fake.chmod(0o755)
    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", str(fake))
    assert check_animation("a.mp4") == ".mp4"
    frames = [("a", lambda x: x[:, 0] > 0), ("b", lambda x: x[:, 0] > 1)]
    animate(frames, DATA, path=tmp_path / "a.mp4")
    assert int((tmp_path / "a.mp4").read_text()) == (2 + HOLD * RATE) * 432 * 432 * 4


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "runs.sqlite"
    grid = {"l2": [0, 0.1], "learning_rate": [0.3, 1e30]}
    regjax.sweep("moons", CONFIG, grid, seeds=2, folds=2, keep="all", store=path, progress=False)
    regjax.sweep("iris", CONFIG, {"l2": [0, 1]}, keep="all", store=path, progress=False)
    regjax.sweep("moons", CONFIG, {"l2": [0, 1]}, keep="none", store=path, progress=False)
    return path


@pytest.mark.nightly
def test_a_row_of_a_store_while_it_trains(store, tmp_path):
    out = tmp_path / "b.gif"
    done = regjax_command("plot", store, "boundary", "--sweep", 1, "--configuration", 2, "-o", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"written: {out}\n", "")
    assert len(frames_of(out)[0]) == 5


@pytest.mark.slow
def test_titles_say_the_step_and_its_records(store, monkeypatch):
    results = regjax.load(store, 1)
    row = check_animated(results, 2)
    titles, last = [], []

    def look(figure, frames, path):
        for _ in frames:
            titles.append(figure.axes[0].get_title().splitlines()[-1])
            last[:] = [np.asarray(figure.axes[0].images[0].get_array())]

    monkeypatch.setattr("regjax.plot.decision.film", look)
    found = snapshots(results, row)
    animate_row(results, row, zip(found.steps, found.params, strict=True), "a.gif")
    train, val = (results.records[name][row] for name in ("train_accuracy", "val_accuracy"))
    assert titles == [
        f"step {step}: train_accuracy {train[k]:.1%}, val_accuracy {val[k]:.1%}"
        for k, step in enumerate((0, 10, 20, 30, 40))
    ]
    from regjax.plot.samples import plane

    points = plane(results.design.data.x, 120)[1].T
    np.testing.assert_array_equal(last[0].ravel(), results.predict_proba(row, points)[:, 1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["heatmap", "-o", "a.gif"], "output must end in .png, .svg, .pdf, got 'a.gif'"),
        (["boundary", "-o", "a.webm"], "output must end in .png, .svg, .pdf, .gif, .mp4, got 'a.webm'"),
        (["boundary", "-o", "no/a.gif"], "no: No such file or directory"),
        (["boundary", "--y", "l2", "-o", "a.gif"], "y must be given with boundaries, heatmap, stability"),
        (["boundary", "--configuration", "9", "-o", "a.gif"], "configuration must be a number from 0 to 3"),
        (["boundary", "--configuration", "1", "-o", "a.gif"], "must be of a network that was kept and"),
        (["boundary", "--sweep", "2", "-o", "a.gif"], "boundary must have data of two features and"),
        (["boundary", "--sweep", "3", "-o", "a.gif"], "boundary must have the networks' parameters"),
    ],
)
def test_bad_input_of_plot_is_one_line_and_writes_nothing(words, message, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = [] if "--sweep" in words else ["--sweep", "1"]
    done = regjax_command("plot", store, *words, *sweep)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.nightly
def test_compare_writes_the_three_networks_while_they_train(tmp_path):
    done = regjax_command("compare", "circles", "--steps", 12, "--animate", "gif", "--out", tmp_path / "o")
    assert (done.returncode, done.stderr) == (0, "")
    pixels, _ = frames_of(tmp_path / "o" / "decision_boundaries.gif")
    assert len(pixels) == 13
    assert "decision_boundaries.gif" in done.stdout
    assert len(os.listdir(tmp_path / "o")) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--animate", "webm"], "animate must be one of gif, mp4, got 'webm'"),
        (["--animate", "gif", "--regularisers", "l2"], "animate must be given without --regularisers"),
        (["--animate", "gif", "--data", "breast_cancer"], "animate must be given with data of two features"),
    ],
)
def test_bad_input_of_compare_is_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.setattr("regjax.tutorial.experiment.run_experiment", lambda *_, **__: pytest.fail("trained"))
    done = regjax_command("compare", "--steps", 5, "--out", tmp_path / "o", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.nightly
def test_the_last_snapshot_of_compare_is_the_network(tmp_path):
    from regjax.tutorial.experiment import Settings, run_experiment

    train = regjax.datasets.xor(jax.random.key(0), n=40)
    asked = Settings(num_steps=20, l2=0.1)
    found = run_experiment(train, train, asked, with_snapshots=True)
    plain = run_experiment(train, train, asked)
    assert plain.snapshots == ()
    assert [step for step, _ in found.snapshots] == found.runs[0].history["step"].tolist()
    for lane, (run, other) in enumerate(zip(found.runs, plain.runs, strict=True)):
        last = jax.tree.map(lambda leaf, lane=lane: leaf[lane], found.snapshots[-1][1])
        for leaves in zip(*map(jax.tree.leaves, (last, run.params, other.params)), strict=True):
            np.testing.assert_array_equal(leaves[0], leaves[1])
            np.testing.assert_array_equal(leaves[0], leaves[2])


def test_the_endings_of_the_command_are_those_of_the_module():
    assert animation.ANIMATED == (".gif", ".mp4")
