"""Compiled programs are kept in a folder of regjax's own, where the user has set none."""

import os
import subprocess
import sys

import pytest

from regjax.core.caching import cache_folder

# Prints the folder that JAX keeps programs in, before and after a training.
PROGRAM = """
import sys, jax, jax.numpy as jnp, regjax
jnp.arange(3) + 1  # JAX has looked for its folder by now
{before}
print(jax.config.jax_compilation_cache_dir)
regjax.sweep("two_regions", dict(num_steps=1, metrics=()), progress=False{option})
print(jax.config.jax_compilation_cache_dir)
"""


def run(tmp_path, before="", option="", **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XDG_"))}
    kept |= {"REGJAX_CACHE_DIR": str(tmp_path / "own"), "JAX_PLATFORMS": "cpu"} | environment
    program = PROGRAM.format(before=before, option=option)
    done = subprocess.run([sys.executable, "-c", program], env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.nightly
def test_the_first_training_sets_a_folder_and_an_import_none(tmp_path):
    own = tmp_path / "own" / "jax"
    assert run(tmp_path) == ["None", str(own)]
    kept = {path.name: path.stat().st_mtime_ns for path in own.iterdir() if "-cache" in path.name}
    assert any("measure_lanes" in name for name in kept)
    run(tmp_path)  # a second process compiles nothing anew
    again = {path.name: path.stat().st_mtime_ns for path in own.iterdir() if "-cache" in path.name}
    assert again == kept


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("before", "option", "expected"),
    [
        ("", ", compilation_cache=False", "None"),
        ("jax.config.update('jax_enable_compilation_cache', False)", "", "None"),
        ("jax.config.update('jax_compilation_cache_dir', sys.path[-1] + '/mine')", "", "mine"),
    ],
    ids=["switched off", "switched off in JAX", "a folder of the user's"],
)
def test_what_the_user_says_counts(before, option, expected, tmp_path):
    assert run(tmp_path, before, option)[1].endswith(expected)
    assert not (tmp_path / "own" / "jax").exists()


@pytest.mark.nightly
def test_a_folder_that_cannot_be_made_is_no_error(tmp_path):
    (tmp_path / "own").write_text("a file where the folder would be")
    assert run(tmp_path)[1] == "None"


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("REGJAX_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("jax") == tmp_path / "regjax" / "jax"
