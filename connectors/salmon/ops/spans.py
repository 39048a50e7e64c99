"""
The steps of an edit as OpenTelemetry spans; needs the extra `otel`.

The ids of a trace and of its first span are derived from the correlation, the object and the
key. So the processes agree on them without passing anything on, and a sampler by ratio keeps whole traces.
"""

from __future__ import annotations

import hashlib
import threading
import time
from importlib import metadata
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from salmon.ops.trail import Step

_MS: Final = 1_000_000  # in ns
_ATTRIBUTES: Final = ("op", "seq", "outcome", "code")


class _Ids(RandomIdGenerator):
    """Random ids, except for the first span of a trace."""

    def __init__(self) -> None:
        self.next = threading.local()

    def generate_trace_id(self) -> int:
        return getattr(self.next, "trace_id", None) or super().generate_trace_id()

    def generate_span_id(self) -> int:
        return getattr(self.next, "span_id", None) or super().generate_span_id()


class Spans:
    """
    A collector of salmon.ops.trail.

    Args:
        connector: The name of the service, as backends show it.
        processor: Where spans go.
    """

    def __init__(self, connector: str, processor: SpanProcessor) -> None:
        self._ids = _Ids()
        resource = Resource.create({"service.name": f"salmon-{connector}"})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("salmon", metadata.version("salmon-connect"))

    def add(
        self,
        step: Step,
        *,
        correlation: str,
        object: str,  # noqa: A002
        key: str,
        began_ms: int,
        facts: dict[str, Any],
    ) -> None:
        """Add a span that begins at *began_ms* (0: now) and ends now."""
        digest = hashlib.sha256("\0".join((correlation, object, key)).encode()).digest()
        trace_id, first_id = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
        now_ns = time.time_ns()
        began_ns = min(began_ms * _MS or now_ns, now_ns)
        attributes = {
            "salmon.object": object,
            "salmon.key": key,
            "salmon.correlation": correlation,
            **{f"salmon.{name}": str(facts[name]) for name in _ATTRIBUTES if facts.get(name) is not None},
        }
        is_first = step is Step.REPORTED
        context = Context() if is_first else self._below(trace_id, first_id)
        if is_first:
            self._ids.next.trace_id, self._ids.next.span_id = trace_id, first_id
        try:
            span = self._tracer.start_span(
                step.value,
                context,
                kind=SpanKind.PRODUCER if is_first else SpanKind.CONSUMER,
                attributes=attributes,
                start_time=began_ns,
            )
        finally:
            self._ids.next.trace_id = self._ids.next.span_id = None
        span.end(now_ns)

    @classmethod
    def to_receiver(cls, connector: str) -> Spans:
        """Send the spans to where OpenTelemetry's variables say, in batches and from a thread; what is too much is left out."""
        return cls(connector, BatchSpanProcessor(OTLPSpanExporter()))

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.shutdown()

    def _below(self, trace_id: int, first_id: int) -> Context:
        """Return the context of a step whose first span another process has made, or has left out."""
        decided = self._provider.sampler.should_sample(Context(), trace_id, Step.REPORTED.value)
        is_kept = decided.decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if is_kept else TraceFlags.DEFAULT)
        first = SpanContext(trace_id, first_id, is_remote=True, trace_flags=flags)
        return set_span_in_context(NonRecordingSpan(first), Context())
