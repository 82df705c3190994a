"""What the tests of the report share: hostile names, the script, arrays, and waiting."""

import time
from pathlib import Path

import regjax
from regjax.report import arrays as report_data

HOSTILE = "</script><script>alert(1)</script>"
MATHS = "$$x$$"
SCRIPT = Path(regjax.__file__).parent / "report" / "report.js"


def arrays(results, **more):
    """Returns the arrays of a page about results, their comparison and their choice."""
    metric = results.metric
    return report_data.arrays_of(results, metric, results.compare(**more), results.best().index)


def wait_for(true, seconds=60):
    """Waits until a function returns what is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
