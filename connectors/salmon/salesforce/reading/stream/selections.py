"""
Which objects are selected for Change Data Capture, looked at now and then.

If an object is deselected and selected again between two looks, or while the source is stopped, its events of that time were
never published, and the stream shows no gap. But each selection is a record of its own, so its Id is another one then. Who may
not see the setup of the org does without.
Source: Tooling API Developer Guide, "PlatformEventChannelMember".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Event, Thread
from typing import Final

import structlog

from salmon.errors import RequestRejected
from salmon.salesforce.wire.administration import Administration
from salmon.salesforce.wire.budget import Urgency, during
from salmon.salesforce.wire.pubsub_api.layout import channel_of
from salmon.salesforce.wire.rest import Rest

log = structlog.get_logger(__name__)

EVERY_S: Final = 300.0  # each look is one API call; two where the channel is a custom one


class Selections:
    """
    Looks from a thread of its own, at once and then every *every_s* seconds.

    Args:
        members: Returns the Id of each selection, by the name of the object's change events.
        seen: Is called from the thread with the Id of each object's selection.
    """

    def __init__(
        self,
        members: Callable[[], Mapping[str, str]],
        objects: Iterable[str],
        seen: Callable[[Mapping[str, str]], None],
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._members, self._seen, self._every_s = members, seen, every_s
        self._names = {channel_of(name).rpartition("/")[2]: name for name in objects}
        self._closing = Event()
        Thread(target=self._run, name="selections", daemon=True).start()

    def close(self) -> None:
        """End the thread; return at once. Idempotent."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with during(Urgency.LATER):
                    members = self._members()
            except RequestRejected as error:
                log.info("selections_not_visible", code=error.code)
                return
            except Exception as error:  # noqa: BLE001 - the org cannot be asked now: it is asked again
                log.info("selections_not_read", error=type(error).__name__, reason=str(error))
            else:
                self._seen({name: members[event] for event, name in self._names.items() if event in members})
            self._closing.wait(self._every_s)


def selected_on(rest: Rest, topic: str) -> Mapping[str, str]:
    """The Id of each selection for the channel of this topic, by the name of the object's change events. Raises as Rest does."""
    return Administration(rest).selections(topic.rpartition("/")[2])
