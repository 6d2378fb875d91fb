"""The bounded forms of `make soak`, through the very same programs."""

from __future__ import annotations

import pytest

from tests.soak import exits, kills, streams


@pytest.mark.parametrize("engine", ["litellm", "native"])
def test_40_exits_in_the_middle_of_a_stream(engine: str):
    left = exits.measure(40, engine=engine)
    assert left.exits == 40
    left.check()


def test_40_kills_at_random_moments_of_an_agents_run_lose_nothing():
    found = kills.measure(40)
    assert found.kills == 40
    found.check()


@pytest.mark.parametrize("engine", ["litellm", "native"])
def test_2000_streams_a_third_cancelled_leave_memory_threads_and_handles_flat(engine: str):
    ran = streams.measure(2000, engine=engine)
    assert ran.streams == 2000
    ran.check()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"resident_mb": 205.0}, "still grew by 5.0 MB"),  # 5 kB for each stream of the second half
        ({"threads": 24}, "threads"),
        ({"descriptors": 60}, "handles"),
    ],
)
def test_what_a_run_leaves_behind_is_seen(change: dict[str, float], says: str):
    flat = {"resident_mb": 200.0, "threads": 20, "descriptors": 30}
    first, middle = streams.State(streams=200, **flat), streams.State(streams=1000, **flat)
    for end, wrong in ((flat, False), ({**flat, **change}, True)):
        last = streams.State(streams=2000, **end)
        ran = streams.Streams(2000, 666, 1.0, first=first, middle=middle, last=last, open_calls=0)
        if wrong:
            with pytest.raises(AssertionError, match=says):
                ran.check()
        else:
            ran.check()
