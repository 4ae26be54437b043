"""The page of `simulacra compare`: what is on it, and what it says is comparable."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import simulacra
from simulacra.training import train
from tests.conftest import Cli

GIVEN = {"data": "digits", "width": 8, "latent": 4, "quiet": True, "log_every": 1}
JUDGED = {"features": "pixels", "samples": 100, "real_rows": 100}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path_factory.mktemp("cache")))


class Page(HTMLParser):
    """Links, pictures and cells of a page, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.cells: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append((given.get("class") or "", ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            kind, text = self.cells[-1]
            self.cells[-1] = (kind, text + data)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    train(
        "gan",
        out="one",
        steps=4,
        evaluate="fid",
        evaluate_every=2,
        evaluate_features="pixels",
        evaluate_samples=50,
        **GIVEN,
    )
    train("vae", out="two", steps=3, **GIVEN)
    return tmp_path / "one", tmp_path / "two"


def test_the_page_shows_samples_scores_and_curves_and_needs_nothing_else(runs: tuple[Path, Path], command: Cli) -> None:
    for run in ("one", "two"):
        simulacra.evaluate(run, metrics="fid,precision", **JUDGED)
    code, out, err = command("compare", "one", "two", "--out", "report.html", "--no-truncation")
    assert code == 0, err
    assert "report.html" in out
    text = Path("report.html").read_text()
    page = Page(text)
    assert not page.open
    assert all(source.startswith("data:image/") for source in page.sources)
    assert sum(source.startswith("data:image/png") for source in page.sources) == 2
    assert "Scores over training" in text
    assert "Terms of one over training" in text
    fid = simulacra.scorebook.ScoreBook(Path("one")).read()[-1]["scores"]["fid"]["value"]
    assert any(cell.startswith(f"{fid:.5g}") for _, cell in page.cells)
    assert sum(kind == "best" for kind, _ in page.cells) >= 1
    assert not list(Path().glob(".*partial"))


def test_figures_of_different_protocols_are_told_apart_and_none_is_best(runs: tuple[Path, Path], command: Cli) -> None:
    simulacra.evaluate("one", metrics="kid", **JUDGED)
    simulacra.evaluate("two", metrics="kid", **{**JUDGED, "samples": 90})
    assert command("compare", "one", "two", "--out", "report.html", "--no-truncation")[0] == 0
    text = Path("report.html").read_text()
    row = re.search(r"<tr><td>kid</td>.*?</tr>", text, re.DOTALL)
    assert row
    marks = re.findall(r"<sup>(\d+)</sup>", row[0])
    assert len(set(marks)) == 2
    assert "best" not in row[0]
    assert "samples: 90 drawn" in text


def test_scores_of_older_weights_are_not_in_the_table(runs: tuple[Path, Path], command: Cli) -> None:
    simulacra.evaluate("two", metrics="recall", **JUDGED)
    train("vae", out="two", steps=5, **GIVEN)
    command("compare", "two", "--out", "report.html", "--no-truncation")
    assert "<td>recall</td>" not in Path("report.html").read_text()
    assert "judged yet" in Path("report.html").read_text()


def test_truncation_curves_of_models_that_can(
    runs: tuple[Path, Path], command: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulacra.comparison.DRAWN", 60)
    simulacra.evaluate("one", metrics="kid", **JUDGED)
    simulacra.evaluate("two", metrics="kid", **JUDGED)
    assert command("compare", "one", "two", "--out", "report.html")[0] == 0
    assert "<h2>Truncation</h2>" in Path("report.html").read_text()


def test_text_of_a_run_cannot_break_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Cli) -> None:
    monkeypatch.chdir(tmp_path)
    train("gan", out="<b>x&y", steps=1, **GIVEN)
    assert command("compare", "<b>x&y", "--out", "report.html", "--no-truncation")[0] == 0
    assert "<b>x" not in Path("report.html").read_text()
    assert "&lt;b&gt;x&amp;y" in Path("report.html").read_text()


def test_what_cannot_be_compared_is_named(command: Cli, tmp_path: Path) -> None:
    code, _, err = command("compare", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere" in err
