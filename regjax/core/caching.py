"""The folder of regjax's own in which compiled programs are kept, for the next process.

`engine/sweep.py`, the command line and `native/build.py` call these functions. Nothing is set when regjax is
imported: the first training sets it, and only where the user has set no folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def cache_folder(name: str) -> Path:
    """Returns a folder of compiled things: in $REGJAX_CACHE_DIR, else in the user's folder of caches.

    Raises:
        OSError: neither is named, and the user has no home.

    Example:
        >>> cache_folder("native").name
        'native'
    """
    given = os.environ.get("REGJAX_CACHE_DIR")
    if given:
        return Path(given, name)
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(given or Path.home() / ".cache", "regjax", name)
    except RuntimeError as error:  # a container may run under a number that no user has
        raise OSError(f"there is no folder of caches: {error}") from error


def keep_programs() -> None:
    """Lets JAX keep what it compiles from now on in a folder of regjax's own, where the user has set none.

    The setting is the process's, so other programs of JAX are kept there too. It has no effect where the user
    has switched JAX's cache off (`jax_enable_compilation_cache`), or where the folder cannot be written.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    given: Any = jax.config  # its settings are attributes that type checkers do not see
    if given.jax_compilation_cache_dir or not given.jax_enable_compilation_cache:
        return
    try:
        folder = cache_folder("jax")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX keeps only programs that took a second; most of ours take less, and there are many.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    # JAX looks for the folder once, when it first compiles; the user may have done so before.
    compilation_cache.reset_cache()
