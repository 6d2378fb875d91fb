"""The bounded forms of `make soak`, through the very same programs."""

from __future__ import annotations

from tests.soak import exits, streams


def test_40_exits_in_the_middle_of_a_stream():
    left = exits.measure(40)
    assert left.exits == 40
    left.check()


def test_2000_streams_a_third_cancelled_leave_memory_threads_and_handles_flat():
    ran = streams.measure(2000)
    assert ran.streams == 2000
    ran.check()
