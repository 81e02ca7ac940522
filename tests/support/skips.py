"""A plugin of the tests: --no-skips makes the run fail where a test was skipped or was expected to fail, and lists why.

A test is skipped where its data are not at hand. Where they are, a skip hides a fault, as an expected failure does everywhere.
With --no-skips-but TEXT the skips whose reason begins with TEXT are let through, and no others.
"""


def pytest_addoption(parser):
    parser.addoption("--no-skips", action="store_true", help="fail if any test is skipped, and say why each was")
    parser.addoption("--no-skips-but", metavar="TEXT", help="fail if a test is skipped whose reason does not begin so")


def pytest_configure(config):
    allowed = config.getoption("no_skips_but")
    wanted = config.getoption("no_skips") or allowed
    if wanted and not hasattr(config, "workerinput"):  # workers report to the process that started them
        config.pluginmanager.register(NoSkips(allowed), "no-skips")


class NoSkips:
    """Collects what was skipped, tests and whole modules, and turns it into a failure of the session."""

    def __init__(self, allowed=None):
        self.allowed, self.reasons = allowed, {}

    def pytest_runtest_logreport(self, report):
        why = reason(report) if report.skipped or hasattr(report, "wasxfail") else None
        if why and not (self.allowed and why.removeprefix("Skipped: ").startswith(self.allowed)):
            self.reasons[report.nodeid] = why

    pytest_collectreport = pytest_runtest_logreport

    def pytest_sessionfinish(self, session, exitstatus):
        if self.reasons and exitstatus in (0, 5):  # 5: every module was skipped, so that no test was left to run
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        if self.reasons:
            terminalreporter.section("skipped, which --no-skips forbids", red=True)
            for nodeid, why in self.reasons.items():
                terminalreporter.line(f"{nodeid}: {why}")


def reason(report):
    """Return why a report says that something was skipped, or that it was expected to fail."""
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}"
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
