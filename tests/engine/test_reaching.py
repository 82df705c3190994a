"""Reaching a scheduler: what else may answer at an address is said in one line, in bounded time."""

import contextlib
import json
import socket
import socketserver
import threading

import pytest

distributed = pytest.importorskip("distributed")

from regjax.engine.connecting import connected  # noqa: E402
from regjax.engine.reaching import reached  # noqa: E402


class Web(socketserver.BaseRequestHandler):
    """A server that speaks another protocol."""

    def handle(self):
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@contextlib.contextmanager
def served(handler):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield f"tcp://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_what_takes_a_connection_and_says_nothing_is_not_waited_for():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OSError, match=rf"^no Dask scheduler answers at {address} in 0.3 s$"):
            reached(address, 0.3)


def test_a_server_of_another_kind_is_no_scheduler():
    with served(Web) as address, pytest.raises(OSError, match=r"^no Dask scheduler is at .* something else"):
        reached(address, 5)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_an_address_that_needs_what_is_not_there_is_one_line(address):
    with pytest.raises(ValueError, match=rf"^{address} cannot be reached: ") as said:
        reached(address, 1)
    assert "\n" not in str(said.value)


def test_a_host_that_nobody_knows_is_said_at_once():
    # The name is kept for this by RFC 2606.
    with pytest.raises(OSError, match=r"^no Dask scheduler is at \S+: no host nobody.invalid is known$"):
        reached("tcp://nobody.invalid:8786", 60)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "[]", "{}"])
def test_a_file_that_is_no_scheduler_file_is_one_line(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with (
        pytest.raises(ValueError, match=r"^executor must name a scheduler file, as `dask scheduler` writes"),
        connected(f"dask://{path}"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Dask
def test_a_worker_is_no_scheduler_and_a_scheduler_file_names_one(tmp_path):
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as local:
        with reached(local.scheduler_address, 5) as client:
            worker = next(iter(client.scheduler_info()["workers"]))
        with (
            pytest.raises(ValueError, match=r"^executor must be a client that is connected, got .* closed$"),
            connected(client),
        ):
            pass
        with pytest.raises(OSError, match=r"^no Dask scheduler is at \S+: a worker of Dask answers$"):
            reached(worker, 5)
        path = tmp_path / "cluster.json"
        path.write_text(json.dumps({"address": local.scheduler_address}))
        cancelled = []
        with connected(f"dask://{path}") as cluster:
            assert cluster.capacity == 1
            cluster.client.cancel = lambda *a: cancelled.append(cluster.client.status)
        assert cancelled == ["running"], "what is in work ends before the client does"
