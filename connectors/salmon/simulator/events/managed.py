"""
One ManagedSubscribe stream: a subscription whose position the org keeps, and moves when the client commits.

It differs from Subscribe in how it starts and in the commits; everything else is a Stream's. A failed commit is said in the
response and ends nothing. Several commits that come close together are answered once, for the last of them.
Source: Pub/Sub API ("ManagedSubscribe RPC Method (Beta)", "Handle Errors") and its proto. That the first request may not
commit is how we read managed.subscription.fetch.request.commit.request.restricted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import grpc

from salmon.salesforce.wire.pubsub_api import pubsub_api_pb2 as pb2
from salmon.simulator.events.eventbus import EventBus, Preset, ReplayIdCorrupted, Subscription, TopicNotFound
from salmon.simulator.events.pubsub_stream import OWED_MAX, Refused, Stream, StreamTimes
from salmon.simulator.org.channels import Channels, ManagedSubscription
from salmon.simulator.org.ids import id18

_INVALID: Final = grpc.StatusCode.INVALID_ARGUMENT
_PRESETS: Final = {"LATEST": Preset.LATEST, "EARLIEST": Preset.EARLIEST}


class ManagedStream(Stream):
    """A managed subscription on the wire; see Stream for the arguments."""

    def __init__(
        self,
        bus: EventBus,
        rpc_id: str,
        times: StreamTimes,
        latency_s: Callable[[], float],
        channels: Channels,
    ) -> None:
        super().__init__(bus, rpc_id, times, latency_s)
        self._channels = channels
        self._managed: ManagedSubscription | None = None
        self._commit: Any = None  # a CommitReplayResponse that is to be sent

    def close(self) -> None:
        """The call has ended; another client may have the subscription. Idempotent."""
        super().close()
        with self._channels.lock:
            if self._managed is not None:
                self._managed.in_use = False
                self._managed = None

    def _ask(self, request: Any) -> None:
        if request.auth_refresh:
            raise _refused("fetch.request.auth.request.restricted", "auth_refresh is Salesforce's own")
        commits = request.HasField("commit_replay_id_request")
        if request.num_requested < 0 or (request.num_requested == 0 and not commits):
            raise _refused("fetch.request.events.invalid", "num_requested must be above 0")
        if self._subscription is None:
            if commits:
                raise _refused(
                    "fetch.request.commit.request.restricted", "the first request of a stream cannot commit"
                )
            self._start(request)
        elif self._managed is not None and self._is_another(self._managed, request):
            raise _refused("fetch.request.invalid", "the subscription of a stream cannot change")
        self._owed = min(OWED_MAX, self._owed + request.num_requested)
        if commits:
            self._commit = self._committed(request.commit_replay_id_request)

    def _start(self, request: Any) -> None:
        managed = self._find(request)
        if not managed.running:
            raise _refused("config.stopped", f"{managed.developer_name} is stopped")
        with self._channels.lock:
            if managed.in_use:
                raise Refused(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "managed.subscription.already.active",
                    f"another client has {managed.developer_name}",
                )
            managed.in_use = True
            self._managed = managed
        try:
            self._subscription = self._resumed(managed)
        except TopicNotFound:
            raise Refused.no_topic(managed.topic) from None
        if self._closed:
            self.close()

    def _find(self, request: Any) -> ManagedSubscription:
        if request.subscription_id:
            full_id = id18(request.subscription_id)
            if full_id is None:
                raise _refused("subscription.id.invalid", "subscription_id is not an id")
            found = self._channels.managed.get(full_id)
            if found is None:
                raise _refused(
                    "subscription.id.not.found", "no managed subscription has this id", found=False
                )
            return found
        if not request.developer_name:
            raise _refused("id.or.developer.name.empty", "give a subscription id or a developer name")
        found = self._channels.named(request.developer_name)
        if found is None:
            raise _refused("developer.name.not.found", "no managed subscription has this name", found=False)
        return found

    def _resumed(self, managed: ManagedSubscription) -> Subscription:
        if managed.committed is None:
            return self._bus.subscribe(managed.topic, _PRESETS[managed.default_replay])
        try:
            return self._bus.subscribe(managed.topic, Preset.CUSTOM, managed.committed)
        except ReplayIdCorrupted:
            return self._bus.subscribe(managed.topic, _PRESETS[managed.error_replay])

    def _is_another(self, managed: ManagedSubscription, request: Any) -> bool:
        asked_id, asked_name = request.subscription_id, request.developer_name
        return bool(
            (asked_id and id18(asked_id) != managed.subscription_id)
            or (asked_name and asked_name != managed.developer_name)
        )

    def _committed(self, request: Any) -> Any:
        assert self._managed is not None
        answer = pb2.CommitReplayResponse(
            commit_request_id=request.commit_request_id,
            replay_id=request.replay_id,
            process_time=int(time.time() * 1000),
        )
        if self._bus.has(request.replay_id):
            self._managed.committed = request.replay_id
        else:
            answer.error.code = pb2.ErrorCode.COMMIT
            answer.error.msg = (
                "the replay id is not of this org's event bus, or older than the retention window"
            )
        return answer

    # What is said next. With the bus held.

    def _next(self) -> Any:
        managed = self._managed
        if managed is not None and self._refused is None:
            if self._channels.managed.get(managed.subscription_id) is not managed:
                raise _refused("config.deleted", f"{managed.developer_name} was deleted", found=False)
            if not managed.running:
                raise _refused("config.stopped", f"{managed.developer_name} is stopped")
        if self._commit is not None and not self._closed and self._refused is None:
            assert self._subscription is not None
            answer = self._response(self._subscription.position())
            answer.commit_response.CopyFrom(self._commit)
            self._commit = None
            return answer
        return super()._next()

    def _response(self, position: bytes) -> Any:
        return pb2.ManagedFetchResponse(
            latest_replay_id=position, rpc_id=self._rpc_id, pending_num_requested=self._owed
        )


def _refused(code: str, text: str, *, found: bool = True) -> Refused:
    status = _INVALID if found else grpc.StatusCode.NOT_FOUND
    return Refused(status, f"managed.subscription.{code}", text)
