"""A plugin of pytest that prints each failure when it happens, and what runs at a Ctrl-C: a cut keeps them.

`.ci/gpu` loads it by `-p failures_at_once`.
"""

from typing import Any

import pytest

LINES = 12  # of a traceback, its last ones


class AtOnce:
    """Prints the last lines of each test that fails, and at a Ctrl-C the tests that have not ended."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.running: dict[str, None] = {}  # names, in the order in which they began

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Notes that a test has begun."""
        self.running[nodeid] = None

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Notes that a test has ended."""
        self.running.pop(nodeid, None)

    def pytest_keyboard_interrupt(self) -> None:
        """Prints the tests that have begun and not ended, before the workers are waited for."""
        self.write("interrupted while these ran:", *self.running)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Prints a failure; with workers, in the process that collects their reports."""
        if report.failed:
            lines = [
                f"FAILED at once: {report.nodeid} ({report.when})",
                *report.longreprtext.splitlines()[-LINES:],
            ]
            self.write(*lines)

    def write(self, *lines: str) -> None:
        """Prints lines below those that pytest has written."""
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line("\n" + "\n".join(lines))


def pytest_configure(config: pytest.Config) -> None:
    """Adds the plugin, but not in the workers, whose output nobody sees."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(AtOnce(config))
