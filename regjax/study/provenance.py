"""The provenance of a row, how it was computed: package versions, device, processor, shape of its chunk.

The same identity with the same provenance gives the same bits. The engine writes a provenance for each row,
the store keeps it, results and reports show it, and `regjax replay` compares it with that of this machine.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping
from typing import Any, Literal, cast

import jax

# What trains a chunk: the plain program, a GPU's kernel, or a CPU's.
Loop = Literal["plain", "fused", "native"]
# Vector instructions that XLA may use where the processor has them; the last bits depend on them.
_FEATURES = ("sse4_2", "avx", "avx2", "fma", "avx512f", "amx_tile", "asimd", "sve")


@functools.cache  # reading a package's metadata takes a millisecond
def versions() -> dict[str, str]:
    """Returns the versions of the packages that a result depends on, by name."""
    return {name: importlib.metadata.version(name) for name in ("regjax", "jax", "jaxlib", "optax", "numpy")}


def device() -> str:
    """Returns the device that JAX computes on: its platform and kind, "cpu: cpu"."""
    found: Any = jax.devices()[0]
    return f"{found.platform}: {found.device_kind}"


@functools.cache
def processor() -> str:
    """Returns the processor: architecture, model, and the vector instructions that are known of it."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = (line.partition(":") for line in file.read().split("\n\n")[0].splitlines())
        known = {name.strip(): value.strip() for name, _, value in lines}
    except OSError:
        known = {}
    flags = known.get("flags", known.get("Features", "")).split()
    words = (
        platform.machine(),
        known.get("model name") or platform.processor(),
        *(flag for flag in _FEATURES if flag in flags),
    )
    return " ".join(word for word in words if word)


def sizes_in_words(layer_sizes: tuple[int, ...]) -> str:
    """Returns layer sizes as plans, provenances and stored shapes say them: "2-16-1"; "" for ()."""
    return "-".join(map(str, layer_sizes))


def sizes_from_words(words: str) -> tuple[int, ...]:
    """Returns the layer sizes that `sizes_in_words` gave."""
    return tuple(map(int, words.split("-"))) if words else ()


@functools.cache
def provenance(
    slots: int,
    lanes: int,
    shared: bool,
    on: tuple[str, ...] = (),
    loop: Loop = "plain",
    built: str = "",
    padded_to: tuple[int, ...] = (),
) -> str:
    """Returns the provenance of rows that this machine computes, as JSON.

    Args:
        slots: number of slots of their chunk.
        lanes: number of lanes in a slot.
        shared: whether the lanes of a slot share their batches and random bits.
        on: regularisers that are compiled into their program.
        loop: what trains them.
        built: compiler, flags and source of the native kernel, where that trains them.
        padded_to: layer sizes of their program, where they are padded to those.
    """
    # Stored files have the shape of a chunk in this spelling; `chunk_of` reads it.
    chunk = f"{slots}×{lanes}{' shared' if shared else ''}"
    found = {"chunk": chunk, **versions(), "device": device(), "processor": processor()}
    flags = os.environ.get("XLA_FLAGS", "").strip()
    # These decide the last bits too; they are left out where there are none.
    found |= {"on": ", ".join(on)} if on else {}
    found |= {} if loop == "plain" else {"loop": loop}
    found |= {"kernel": built} if built else {}
    found |= {"padded": sizes_in_words(padded_to)} if padded_to else {}
    found |= {"XLA_FLAGS": flags} if flags else {}
    return json.dumps(found, sort_keys=True, ensure_ascii=False)


@functools.lru_cache(maxsize=1024)
def chunk_of(how: str) -> tuple[int, int, bool]:
    """Returns slots, lanes, and whether the lanes of a slot shared their draws, of the chunk of a row.

    Args:
        how: provenance of the row.

    Raises:
        ValueError: it names no chunk.

    Example:
        >>> chunk_of('{"chunk": "2×8 shared"}')
        (2, 8, True)
    """
    found = re.fullmatch(r"(\d+)×(\d+)( shared)?", str(json.loads(how).get("chunk")))
    if found is None:
        raise ValueError(f"provenance must name a chunk, got {how}")
    return int(found[1]), int(found[2]), found[3] is not None


@functools.lru_cache(maxsize=1024)
def padded_of(how: str) -> tuple[int, ...]:
    """Returns the layer sizes that a row was padded to, () where it was not; `how` is its provenance.

    Example:
        >>> padded_of('{"chunk": "1×8", "padded": "2-16-1"}')
        (2, 16, 1)
    """
    return sizes_from_words(json.loads(how).get("padded", ""))


@functools.lru_cache(maxsize=1024)
def loop_of(how: str) -> Loop:
    """Returns what trained a row; `how` is its provenance.

    Example:
        >>> loop_of('{"chunk": "1×1", "loop": "native"}'), loop_of('{"chunk": "1×1"}')
        ('native', 'plain')
    """
    return cast(Loop, json.loads(how).get("loop", "plain"))


@functools.lru_cache(maxsize=1024)
def continued(before: str, step: int, now: str) -> str:
    """Returns the provenance of a row that one process began and another continued.

    Args:
        before: provenance of the row up to the step, "" where this is its beginning.
        step: number of steps that the row had done then.
        now: provenance of the steps since.
    """
    if not before:
        return now
    earlier = json.loads(before)
    # A row that goes on where it began is computed in one way, and says it once.
    if {n: v for n, v in earlier.items() if n not in ("before", "from_step")} == json.loads(now):
        return before
    both = json.loads(now) | {"before": earlier, "from_step": step}
    return json.dumps(both, sort_keys=True, ensure_ascii=False)


def differences(stored: str, here: str) -> list[str]:
    """Returns a sentence for each entry in which two provenances differ."""
    one, other = json.loads(stored), json.loads(here)
    return [
        f"{name} was {_words(one.get(name))}, here {_words(other.get(name))}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


@functools.lru_cache(maxsize=256)
def in_words(stored: str) -> str:
    """Returns a provenance in one line; "damaged" where it is no JSON."""
    try:
        return _words(json.loads(stored))
    except ValueError:
        return "damaged"


@functools.lru_cache(maxsize=256)
def place_in_words(stored: str) -> str:
    """Returns in one line where a row was computed: its provenance without the program and its chunk."""
    found = json.loads(stored)
    return _words(
        {name: value for name, value in found.items() if name not in ("chunk", "on", "loop", "padded")}
    )


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(entry)}" for name, entry in value.items())
    return "not said" if value is None else str(value)
