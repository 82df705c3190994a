"""A plugin of pytest that prints each failure when it happens: a run that is cut short keeps them.

`.ci/gpu` loads it by `-p failures_at_once`.
"""

from typing import Any

import pytest

LINES = 12  # of a traceback, its last ones


class AtOnce:
    """Prints the name and the last lines of each test that fails."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Prints a failure; with workers, in the process that collects their reports."""
        if report.failed:
            lines = [
                f"FAILED at once: {report.nodeid} ({report.when})",
                *report.longreprtext.splitlines()[-LINES:],
            ]
            reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
            reporter.write_line("\n" + "\n".join(lines))


def pytest_configure(config: pytest.Config) -> None:
    """Adds the plugin, but not in the workers, whose output nobody sees."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(AtOnce(config))
