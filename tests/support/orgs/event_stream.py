"""A subscription of Salmon's, as a test takes what it brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from salmon.salesforce.reading.stream.subscription import Preset, Received, Subscription
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub
from support.orgs.boxes import Box
from support.waiting import until

TOPIC = "/data/AccountChangeEvent"


@contextmanager
def stream(pubsub: PubSub) -> Iterator[Subscription]:
    """A subscription to accounts that has been let in."""
    subscription = Subscription(pubsub, TOPIC, Preset.LATEST, fetch_size=100, silence_max_s=300)
    try:
        received(subscription)
        yield subscription
    finally:
        subscription.close()


def received(subscription: Subscription) -> Received:
    """The next response."""
    until(subscription.peek, "a response of the stream")
    found = subscription.peek()
    assert isinstance(found, Received), found
    subscription.pop()
    return found


def brings_an_event(box: Box, subscription: Subscription) -> None:
    """A person makes an account; the stream tells of it."""
    with box.org.transaction(box.org.person) as unit:
        unit.insert("Account", {"Name": "Acme"})
    until(lambda: received(subscription).events, "the event")
