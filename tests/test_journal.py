"""What a run says while it trains."""

import json
import math
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from simulacra import journal
from simulacra.journal import Events, Live, Log, Plain, Silent, Standing, clock_face, progress


def line(step, value=1.0):
    return {"step": step, "time": 100.0 + step, "m/loss": value}


def written(folder, *lines):
    log = Log(folder)
    for each in lines:
        log.write(each)
    return log


def test_every_line_is_on_disk_at_once(tmp_path):
    log = written(tmp_path, line(1))
    assert json.loads(log.path.read_text()) == line(1)
    log.write(line(2))
    assert log.lines() == [line(1), line(2)]
    assert Log(tmp_path / "nowhere").lines() == []


def test_cutting_drops_what_lies_past_the_step_and_keeps_events(tmp_path):
    event = {"event": "start", "from": 0}
    log = written(tmp_path, event, line(1), line(2), line(3))
    assert log.cut(2) == [event, line(1), line(2)]
    log.write(line(3, 7.0))
    assert Log(tmp_path).lines() == [event, line(1), line(2), line(3, 7.0)]
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
    assert log.cut(0) == [event]


def test_a_line_torn_by_a_kill_is_left_out_and_the_next_is_whole(tmp_path):
    log = written(tmp_path, line(1), line(2))
    log.close()
    whole = log.path.read_bytes()
    for length in range(len(whole)):
        log.path.write_bytes(whole[:length])
        kept = log.cut(10)
        assert kept == [each for each in (line(1), line(2)) if each in kept]
        assert len(kept) == (length >= len(json.dumps(line(1)))) + (length >= len(whole) - 1)
        log.write(line(3))
        assert log.lines() == [*kept, line(3)]
        log.close()


def scalars(folder):
    """TensorBoard's own reading of its files: (tag, step, value) in the order of steps."""
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return sorted((tag, e.step, e.value) for tag in found.Tags()["scalars"] for e in found.Scalars(tag))


def test_events_hold_the_log_and_begin_again_where_it_was_cut(tmp_path):
    events = Events(tmp_path)
    for step in (1, 2, 3):
        events.add(line(step, step / 2))
    events.add({"event": "rollback", "from": 1})
    events.close()
    assert scalars(tmp_path) == [("m/loss", step, step / 2) for step in (1, 2, 3)]
    events.restart([line(1, 0.5), {"event": "start"}])
    events.add(line(2, 9.0))
    events.close()
    assert scalars(tmp_path) == [("m/loss", 1, 0.5), ("m/loss", 2, 9.0)]


def test_events_begun_again_from_nothing_leave_nothing(tmp_path):
    events = Events(tmp_path)
    events.add(line(1))
    events.restart([])
    assert not (tmp_path / "tensorboard").exists()


class Time:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr(journal, "time", clock)
    return clock


def test_a_pipe_gets_a_line_every_few_seconds_with_the_time_left(clock, capsys):
    plain = Plain(100, every_seconds=5.0)
    for step in range(1, 12):
        plain.show(Standing(step, 1234.5, 95.0 - step, {"a/D(x)": 0.123456, "a/d/fool": 2.0, "p/gradient": 3.0}))
        clock.now += 1.0
    shown = capsys.readouterr().err.splitlines()
    assert shown == [
        "step 1/100  1,234 images/s  ETA 1:34  D(x) 0.1235  d/fool 2",
        "step 6/100  1,234 images/s  ETA 1:29  D(x) 0.1235  d/fool 2",
        "step 11/100  1,234 images/s  ETA 1:24  D(x) 0.1235  d/fool 2",
    ]


def test_the_last_step_is_always_shown(clock, capsys):
    plain = Plain(3)
    for step in (1, 2, 3):
        plain.show(Standing(step, 1.0, 0.0, {}))
    assert [text.split()[1] for text in capsys.readouterr().err.splitlines()] == ["1/3", "3/3"]


@pytest.mark.parametrize(
    ("seconds", "face"),
    [
        (0, "0:00"),
        (0.4, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3599.6, "1:00:00"),
        (90_061, "25:01:01"),
    ],
)
def test_clock_face(seconds, face):
    assert clock_face(seconds) == face


def test_progress_suits_where_it_goes(monkeypatch, capsys):
    assert isinstance(progress(10, "x", 0, quiet=True), Silent)
    assert isinstance(progress(10, "x", 0, quiet=False), Plain)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    live = progress(10, "x", 3, quiet=False)
    assert isinstance(live, Live)
    live.show(Standing(4, 10.0, 2.0, {"m/loss": 1.0}))
    live.say("[bold] is not markup")
    live.close()
    assert "[bold] is not markup" in capsys.readouterr().err


def test_a_narrow_terminal_keeps_bar_step_speed_and_time_left(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    live = Live(12_187, "dcgan", 0)
    terms = {f"move/a rather long name {k}": 0.123456 for k in range(6)}
    live.show(Standing(4321, 1234.5, 754.0, terms))
    live.close()
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "4321/12187  1,234 images/s  ETA 12:34" in last
    assert "dcgan" in last


def test_a_time_budget_has_no_total(clock, capsys):
    Plain(None).show(Standing(7, 10.0, 61.0, {}))
    assert capsys.readouterr().err.startswith("step 7  10 images/s  ETA 1:01")


def test_numbers_survive_the_log(tmp_path):
    values = {"a": math.pi, "b": 1e-300, "c": 3}
    assert written(tmp_path, {"step": 1, **values}).lines() == [{"step": 1, **values}]
