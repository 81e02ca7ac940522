"""A plugin of the tests: --no-skips makes the run fail where a test was skipped, and lists why.

A test is skipped where its data are not at hand. Where they are, a skip hides a fault.
"""


def pytest_addoption(parser):
    parser.addoption("--no-skips", action="store_true", help="fail if any test is skipped, and say why each was")


def pytest_configure(config):
    if config.getoption("no_skips") and not hasattr(config, "workerinput"):  # workers report to the process that started them
        config.pluginmanager.register(NoSkips(), "no-skips")


class NoSkips:
    """Collects what was skipped, tests and whole modules, and turns it into a failure of the session."""

    def __init__(self):
        self.reasons = {}

    def pytest_runtest_logreport(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):  # an expected failure has run
            self.reasons[report.nodeid] = reason(report)

    def pytest_collectreport(self, report):
        if report.skipped:
            self.reasons[report.nodeid] = reason(report)

    def pytest_sessionfinish(self, session, exitstatus):
        if self.reasons and exitstatus in (0, 5):  # 5: every module was skipped, so that no test was left to run
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        if self.reasons:
            terminalreporter.section("skipped, which --no-skips forbids", red=True)
            for nodeid, why in self.reasons.items():
                terminalreporter.line(f"{nodeid}: {why}")


def reason(report):
    """Return why a report says that something was skipped."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
