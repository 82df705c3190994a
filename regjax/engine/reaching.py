"""Reaches a Dask scheduler in bounded time, whatever answers at its address.

Dask's own client waits without end for what takes a connection and says nothing, such as a machine that
stands still, and for most servers that are no scheduler: the port of Dask's own page is a likely slip. So it
is made only where a scheduler has answered.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from distributed import Client


def reached(address: str, seconds: float, security: Any = None) -> Client:
    """Returns a client of the scheduler at an address.

    Args:
        address: the address, as `tcp://HOST:PORT`.
        seconds: how long it has to answer.
        security: the `distributed.Security` to reach it with; None takes that of Dask's settings.

    Raises:
        OSError: nothing answers there, or something that is no scheduler.
        ValueError: an address of a kind that Dask does not know, or without what it needs to be reached.
    """
    import dask.config
    from distributed import Client, Security

    # A loader makes the security of a client, and what it would be only that client knows.
    if security is not None or not dask.config.get("distributed.client.security-loader", None):
        arguments = (security or Security()).get_connection_args("client")
        # In a thread of its own: a notebook has a loop at work in this one.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, _checked(address, seconds, arguments)).result()
    try:
        return Client(address, timeout=seconds, set_as_default=False, security=security)
    except OSError as error:
        raise OSError(f"no Dask scheduler answers at {address} in {seconds} s") from error


async def _checked(address: str, seconds: float, arguments: dict[str, Any]) -> None:
    """Asks what is at an address who it is; errors as of `reached`."""
    from distributed.core import rpc

    await _looked_up(address, seconds)
    async with rpc(address, connection_args=arguments) as server:
        try:
            found: Any = await asyncio.wait_for(server.identity(), seconds)
        except OSError as error:  # and what `wait_for` raises
            raise OSError(f"no Dask scheduler answers at {address} in {seconds} s") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{address} cannot be reached: {' '.join(str(error).split())}") from error
        except Exception as error:  # what another protocol's bytes happen to mean
            raise OSError(f"no Dask scheduler is at {address}: something else answers") from error
    if "workers" not in found:
        raise OSError(f"no Dask scheduler is at {address}: a {found['type'].lower()} of Dask answers")


async def _looked_up(address: str, seconds: float) -> None:
    """Looks up the host of an address: Dask tries a name that nobody has again until its time is over.

    Of what is no address at all, Dask says what it makes of it.
    """
    if not address.startswith(("tcp://", "tls://")):
        return
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return
    try:
        await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo(host, None), seconds)
    except socket.gaierror as error:
        raise OSError(f"no Dask scheduler is at {address}: no host {host} is known") from error
    except (TimeoutError, UnicodeError):
        return
