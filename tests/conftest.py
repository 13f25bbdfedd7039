"""What holds for every test. With CI=true a skipped test is a failure, except where the machine itself cannot do it."""

from __future__ import annotations

import os
import signal

import pytest

# A reason that begins so is a fact about the processor or kernel, not something that could be installed.
EXCUSE = "this machine"


class SkippedTests:
    def __init__(self) -> None:
        self.unexcused: list[str] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure is reported as skipped too.
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(EXCUSE):
            self.unexcused.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexcused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.unexcused:
            terminalreporter.write_line(f"SKIPPED although CI=true: {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in the background; ours would inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The programs that tests start shall write as they do for users: buffered where nobody looks.
    os.environ.pop("PYTHONUNBUFFERED", None)
    if os.environ.get("CI") == "true":
        config.pluginmanager.register(SkippedTests())
