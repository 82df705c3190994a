"""Connecting with a Dask cluster: its address, and what Dask is told for workers of this machine."""

import os
import signal
from pathlib import Path

import pytest
from stores import run

from regjax.cli import main as cli
from regjax.engine.connecting import LOCAL, connected

dask = pytest.importorskip("dask")
pytest.importorskip("distributed")
yaml = pytest.importorskip("yaml")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.bits,  # for the processes of workers compile as for users
    pytest.mark.cpu("worker processes on one machine share its only accelerator"),
]
PAGE = Path(__file__).parents[2] / "docs" / "guides" / "machines.md"


@pytest.mark.parametrize(
    ("executor", "error", "words"),
    [
        ("dask://127.0.0.1:9", OSError, "no Dask scheduler answers at tcp://127.0.0.1:9 in 5 s"),
        ("dask://local:0", ValueError, "dask://local:N with N from 1, got 'dask://local:0'"),
        ("dask://local:many", ValueError, "dask://local:N with N from 1"),
        ("dask://local:1?fast", ValueError, "executor must have no words but .mixed"),
        ("dask://no-file.json", ValueError, "dask://FILE with a scheduler file that exists"),
    ],
)
def test_an_address_that_is_none_is_one_line(executor, error, words):
    with pytest.raises(error, match=words) as said:
        run(executor=executor)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("127.0.0.1", "--dask must be HOST:PORT, local:N or a scheduler file that exists, got '127.0.0.1'"),
        ("dask://local:0", "--dask must be local:N with N from 1, got 'local:0'"),
        ("x:1?fast", "--dask must have no words but ?mixed, got 'x:1?fast'"),
    ],
)
@pytest.mark.parametrize("mixed", [[], ["--mixed"]])
def test_errors_of_the_flag_are_in_its_words(given, words, mixed, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["sweep", "two_regions", "--dask", given, *mixed])
    assert (stop.value.code, capsys.readouterr().err) == (2, f"regjax: error: {words}\n")


def test_the_page_has_the_settings_for_workers_of_ones_own():
    found = yaml.safe_load(PAGE.read_text().partition("```yaml\n")[2].partition("```")[0])
    wanted = {name: value for name, value in LOCAL.items() if "lost-worker" not in name}
    assert _flat(found) == wanted


def _flat(settings, before=()):
    if not isinstance(settings, dict):
        return {".".join(before): settings}
    return {key: v for name, of in settings.items() for key, v in _flat(of, (*before, name)).items()}


def test_workers_of_this_machine_have_the_settings(monkeypatch):
    # Dask puts what one cluster is told into the surroundings of this process, and keeps it for the next.
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    with connected("dask://local:1") as cluster:
        [trim] = cluster.client.run(os.getenv, "MALLOC_TRIM_THRESHOLD_").values()
        [every] = cluster.client.run(dask.config.get, "distributed.worker.profile.interval").values()
        [interrupted] = cluster.client.run(signal.getsignal, signal.SIGINT).values()
    assert (trim, every) == (str(2**28), "100ms")
    assert interrupted == signal.SIG_IGN, "Ctrl-C in a terminal is the host's"
