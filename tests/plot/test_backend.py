"""A user's MPLBACKEND, each in a process of its own: Matplotlib reads it when it is imported."""

import os
import subprocess
import sys

import pytest
from cases import slow_but

INLINE = "module://matplotlib_inline.backend_inline"
# Matplotlib is not imported before, and afterwards draws without a backend.
DRAWS = """
import importlib, os, sys
importlib.import_module(sys.argv[1])
from regjax.plot.canvas import QuietFigure
QuietFigure().savefig("a.png")
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.rcParams._get_backend_or_none())
"""


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "backend"),
    slow_but(
        [
            ("regjax.plot.figures", INLINE),
            ("regjax.report.models", INLINE),
            ("regjax.tutorial.figures", INLINE),
            ("regjax.plot.palette", "nonsense"),
            ("regjax.plot.palette", "pdf"),
        ],
        [("regjax.plot.figures", INLINE), ("regjax.plot.palette", "nonsense")],
    ),
)
def test_a_users_backend_is_kept_and_does_not_matter(module, backend, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DRAWS, module],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": backend},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    kept, taken = done.stdout.split()
    assert kept == backend
    assert taken == {"pdf": "pdf", "nonsense": "None"}.get(backend, taken)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
