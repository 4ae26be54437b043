"""Which stage a step belongs to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulacra.errors import UserError
from simulacra.timeline import Moment, Timeline

LENGTHS = st.lists(st.integers(1, 10_000), min_size=1, max_size=8)


def test_stages_follow_each_other_with_steps_and_progress_of_their_own():
    timeline = Timeline([2, 4], 6)
    assert [timeline.at(step) for step in range(7)] == [
        Moment(0, 0, 0.0),
        Moment(0, 1, 0.5),
        Moment(1, 0, 0.0),
        Moment(1, 1, 0.25),
        Moment(1, 2, 0.5),
        Moment(1, 3, 0.75),
        Moment(1, 4, 1.0),
    ]


@given(LENGTHS)
def test_at_their_own_length_stages_are_as_long_as_they_say_but_for_rounding(lengths):
    found = Timeline(lengths, sum(lengths)).lengths
    assert all(abs(a - b) <= len(lengths) for a, b in zip(found, lengths, strict=True))


@given(LENGTHS, st.integers(0, 100_000))
def test_stages_share_the_horizon_in_proportion_one_step_at_least(lengths, spare):
    horizon = len(lengths) + spare
    timeline = Timeline(lengths, horizon)
    assert sum(timeline.lengths) == horizon
    assert min(timeline.lengths) >= 1
    for found, length in zip(timeline.lengths, lengths, strict=True):
        assert abs(found - 1 - spare * length / sum(lengths)) <= 1
    assert timeline.starts == [sum(timeline.lengths[:k]) for k in range(len(lengths))]


@given(LENGTHS, st.integers(0, 100), st.integers(0, 500))
def test_moments_advance_and_the_last_stage_goes_on(lengths, spare, step):
    timeline = Timeline(lengths, len(lengths) + spare)
    now, then = timeline.at(step), timeline.at(step + 1)
    assert 0 <= now.progress <= 1
    assert timeline.starts[now.stage] + now.step == step
    assert then in (
        Moment(now.stage, now.step + 1, min((now.step + 1) / timeline.lengths[now.stage], 1.0)),
        Moment(now.stage + 1, 0, 0.0),
    )
    late = timeline.at(10**9)
    assert late.stage == len(lengths) - 1
    assert late.progress == 1.0


def test_a_horizon_shorter_than_the_stages_are_many_is_refused():
    with pytest.raises(UserError, match="2 steps are too few for 3 stages: give at least 3"):
        Timeline([5, 5, 5], 2)
    assert Timeline([500, 1, 5], 3).lengths == [1, 1, 1]
