"""A channel: order, backpressure, errors downstream, leaving upstream."""

from __future__ import annotations

from threading import Thread

import pytest

from penstock.engines.channel import Channel, ChannelClosed


def test_items_come_out_in_order_then_the_end() -> None:
    channel: Channel[int] = Channel(size=3)
    for item in (1, 2, 3):
        channel.put(item)
    channel.end()
    assert list(channel) == [1, 2, 3]


def test_an_error_comes_after_what_was_put_before() -> None:
    channel: Channel[int] = Channel()
    channel.put(1)
    channel.end(ValueError("broken"))
    items = iter(channel)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_a_full_channel_stops_its_producer_until_the_consumer_takes() -> None:
    channel: Channel[int] = Channel()
    put: list[int] = []

    def produce() -> None:
        for item in range(3):
            channel.put(item)
            put.append(item)
        channel.end()

    thread = Thread(target=produce)
    thread.start()
    items = iter(channel)
    assert next(items) == 0
    assert len(put) <= 2
    assert list(items) == [1, 2]
    thread.join()
    assert put == [0, 1, 2]


def test_a_consumer_that_leaves_ends_its_producer() -> None:
    channel: Channel[int] = Channel()
    channel.put(1)
    channel.leave()
    with pytest.raises(ChannelClosed):
        channel.put(2)
