"""What the tests share."""

import os
from collections.abc import Callable

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores (torch counts its threads when imported)
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from simulacra import cli

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process: `command("train", "gan", …)` gives exit code, stdout and stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["simulacra", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as leave:
            code = int(leave.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return call


def pytest_terminal_summary(terminalreporter: object) -> None:
    """Say in one line what was left out for lack of data."""
    skipped = terminalreporter.stats.get("skipped", [])  # type: ignore[attr-defined]
    missing = [report.nodeid for report in skipped if "SIMULACRA_DATA" in str(report.longrepr)]
    told = (
        f"{len(missing)} tests skipped for lack of data (SIMULACRA_DATA)"
        if missing
        else "no test skipped for lack of data"
    )
    terminalreporter.write_line(told)  # type: ignore[attr-defined]
    for name in missing:
        terminalreporter.write_line(f"  {name}")  # type: ignore[attr-defined]
