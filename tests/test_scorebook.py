"""`metrics.json`: appending, cutting, listing for a card."""

import json
from pathlib import Path

import pytest

from simulacra.errors import UserError
from simulacra.scorebook import ScoreBook, comparable, how, listing, number, of_subject

SEEN = {"measure": "fid", "sides": {"real": "reference", "fake": "samples"}, "through": "features"}


def entry(step: int | None = None, kind: str = "model", value: float = 1.0, **extra: object) -> dict:
    return {
        "simulacra": "0",
        "subject": {"kind": kind, "step": step},
        "sides": {"samples": {"drawn": 10000, "seed": 3}, "reference": reference(60000)},
        "features": {"extractor": "mnist", "sha256": "0123456789", "resizer": "none"},
        "seed": 3,
        "measures": {
            "fid": {},
            "neighbours": {"k": 3},
            "kid": {"subsets": 5, "rows": None},
            "log_prob": {"rows": None},
        },
        "scores": {"fid": {"value": value, "better": "lower", **SEEN}, **extra},
    }


def reference(rows: int) -> dict:
    return {"word": "mnist", "split": "train", "rows": rows, "of": 60000, "fingerprint": "f"}


def test_entries_are_kept_in_order(tmp_path: Path) -> None:
    book = ScoreBook(tmp_path)
    assert book.read() == []
    book.append(entry(1))
    book.append(entry(2))
    assert [each["subject"]["step"] for each in ScoreBook(tmp_path).read()] == [1, 2]
    assert json.loads((tmp_path / "metrics.json").read_text())["format"] == 1


def test_cutting_drops_what_training_noted_past_a_step_and_nothing_else(tmp_path: Path) -> None:
    book = ScoreBook(tmp_path)
    book.cut(3)
    assert not book.path.exists()
    for each in (entry(2, "training"), entry(4, "training"), entry(4, "model"), entry(None, "data")):
        book.append(each)
    book.cut(3)
    left = [(each["subject"]["kind"], each["subject"]["step"]) for each in book.read()]
    assert left == [("training", 2), ("model", 4), ("data", None)]


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2, "evaluations": []}', '{"format": 1, "evaluations": 3}'])
def test_a_file_that_holds_no_scores_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.json"):
        ScoreBook(tmp_path).append(entry())
    assert (tmp_path / "metrics.json").read_text() == content


def test_a_card_lists_the_newest_value_of_every_score_and_how_it_was_measured() -> None:
    error = {**SEEN, "measure": "neighbours", "value": 0.5, "standard_error": 0.01, "better": "higher"}
    found = listing([entry(5, value=9.0), entry(5, value=2.0, precision=error)])
    assert list(found) == ["fid (mnist)", "precision (mnist)"]
    assert found["fid (mnist)"]["value"] == 2.0
    assert "standard_error" not in found["fid (mnist)"]
    assert found["precision (mnist)"]["standard_error"] == 0.01


def test_how_a_score_was_made_in_words() -> None:
    kid = {**SEEN, "measure": "kid", "value": 0.1, "better": "lower"}
    whole = entry(13125, kid=kid)
    words = {
        "samples": "10,000 drawn, seed 3",
        "reference": "60,000 rows of mnist (train, f)",
        "features": "mnist 01234567, resizer none",
        "step": "13,125",
        "version": "0",
    }
    assert how(whole) == words
    assert how(whole, "kid") == words | {"options": "subsets 5"}
    part = entry()
    part["sides"]["reference"] = reference(5000)
    assert how(part)["reference"] == "5,000 of 60,000 rows of mnist (train, f)"


def test_evaluations_of_a_subject_have_all_its_facts() -> None:
    entries = [entry(1, "training"), entry(2, "training"), entry(2, "model")]
    assert of_subject(entries, kind="training", step=2) == [entries[1]]
    assert of_subject(entries, step=2) == entries[1:]


def test_numbers_for_people() -> None:
    assert number(12.3456789, None) == "12.346"
    assert number(0.98765, 0.00123) == "0.9877 ± 0.0012"
    assert number(-92.2341, 0.271) == "-92.23 ± 0.27"
    assert number(1234.5, 45.6) == "1234 ± 46"
    assert number(1.0, 0.0) == "1 ± 0"


def test_a_score_is_described_by_what_it_saw_alone() -> None:
    """Likelihoods see no samples, and no extractor."""
    likelihood = {"measure": "log_prob", "sides": {"real": "test"}, "through": None, "value": -92.0, "better": "higher"}
    whole = entry(log_prob=likelihood)
    whole["sides"]["test"] = {**reference(10000), "split": "test", "of": 10000}
    assert how(whole, "log_prob") == {"test": "10,000 rows of mnist (test, f)", "seed": "3", "version": "0"}
    assert set(how(whole, "fid")) == {"samples", "reference", "features", "version"}
    assert list(listing([whole])) == ["fid (mnist)", "log_prob"]
    whole["scores"]["log_prob"]["rows"] = {"real": 1000}
    assert how(whole, "log_prob")["test"] == "1,000 of 10,000 rows of mnist (test, f)"


def test_figures_compare_only_where_data_extractor_and_options_are_the_same() -> None:
    one = entry()
    assert comparable(one, "fid") == comparable(entry(5, value=7.0), "fid")
    others = [entry() for _ in range(4)]
    others[0]["sides"]["reference"]["fingerprint"] = "g"
    others[1]["features"]["sha256"] = "1123456789"
    others[2]["measures"]["fid"] = {"k": 5}
    others[3]["scores"]["fid"]["rows"] = {"real": 10}
    assert all(comparable(each, "fid") != comparable(one, "fid") for each in others)


def test_what_could_not_be_kept_is_told_before(tmp_path: Path) -> None:
    ScoreBook(tmp_path).check()
    (tmp_path / "metrics.json").write_text("torn")
    with pytest.raises(UserError, match="holds no scores"):
        ScoreBook(tmp_path).check()
