"""
Which place of a stream has nothing behind it that is still to come.

An enriched channel splits a merged event: it comes once for each record, each time with the same replay id. A server sends no more
events than it was asked for, so some of them may come with the next response. A stream that is opened behind their replay id
brings none of them. So the place to go on from is the replay id before theirs, until an event with another one has come.
Pure. Source: Change Data Capture Developer Guide, "Enrich Change Events with Extra Fields" (merged events).
"""

from __future__ import annotations

from collections.abc import Sequence


class SplitEvents:
    """
    Follows one stream, over all its connections.

    Args:
        topic: A custom channel may split any event. Of others it is only known if it shows, or if the server has sent all it might.
        start: The replay id that the stream begins behind; b"" if there is none.
    """

    def __init__(self, topic: str, start: bytes = b"") -> None:
        self._may_split = topic.endswith("__chn")
        self._is_data = topic.startswith("/data/")
        self._whole = start
        self._last = b""  # of the latest event

    def place(self, replay_ids: Sequence[bytes], latest: bytes, owed: int) -> bytes:
        """
        Where to go on once a response is taken; b"" if that is not known.

        Args:
            replay_ids: Those of its events.
            latest: The position that it tells: without events, all that was committed before has come.
            owed: How many events the server may still send without being asked.
        """
        if not replay_ids:
            self._whole, self._last = latest or self._whole, b""
            return latest
        *before, last = [self._last, *replay_ids] if self._last else replay_ids
        others = [each for each in before if each != last]
        if others:
            self._whole = others[-1]
        self._last = last
        goes_on = self._may_split or not owed or last in replay_ids[:-1]
        if not (self._is_data and goes_on):
            self._whole = last
        return self._whole
