"""A pytest plug-in: it skips tests that need a missing program, and lists at the end which tests did not run and why.

If ``CI`` is set, a test that did not run fails the session.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from tests.services.debian_programs import MissingProgramError, is_ci, programs

LISTED_FILES = 12


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Skip the test whose program is missing."""
    if call.excinfo is not None and call.excinfo.errisinstance(MissingProgramError):
        reason = str(call.excinfo.value)
        call.excinfo = pytest.CallInfo.from_call(lambda: pytest.skip(reason), when="call").excinfo


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if ``CI`` is set and a test was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # only one process of a parallel run has it
    if reporter and reporter.stats.get("skipped") and is_ci() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """List the skipped tests by reason and file, after everything else."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    files_by_reason: dict[str, Counter[str]] = defaultdict(Counter)
    for report in skipped:
        reason = report.longrepr[2].removeprefix("Skipped: ")
        files_by_reason[reason][report.nodeid.partition("::")[0]] += 1
    terminalreporter.section(f"tests that did not run: {len(skipped)}", red=is_ci(), yellow=not is_ci())
    for reason, files in sorted(files_by_reason.items()):
        terminalreporter.line(f"{files.total()}, because {reason}:")
        for name, count in sorted(files.items())[:LISTED_FILES]:
            terminalreporter.line(f"    {name} ({count})")
        if len(files) > LISTED_FILES:
            terminalreporter.line(f"    … and {len(files) - LISTED_FILES} more files")
    missing = sorted({package for package, path in programs().values() if not path})
    if missing:
        terminalreporter.line(f"To run them, on Debian or Ubuntu: apt-get install {' '.join(missing)}")
    if "chromium" in missing:
        terminalreporter.line("Ubuntu has no package chromium. Google Chrome works too.")
    if is_ci():
        terminalreporter.line("CI is set, so every test must run: this is a failure.", red=True)
