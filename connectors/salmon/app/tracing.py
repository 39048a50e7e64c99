"""
Whether this process collects the steps of edits as OpenTelemetry spans, as OpenTelemetry's own environment variables say.

Nothing is collected unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set. Without the extra `otel` the
sync works as usual: these variables are often set for all pods of a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from salmon.ops import trail

log = structlog.get_logger(__name__)

_RECEIVERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def collect_spans(connector: str, environment: Mapping[str, str]) -> None:
    """Collect spans from now on, if the environment names a receiver."""
    off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if off or not any(map(environment.get, _RECEIVERS)):
        return
    try:
        from salmon.ops.spans import Spans
    except ImportError:
        mend = "Install salmon-connect[otel], or set OTEL_SDK_DISABLED=true."
        log.warning("spans_not_collected", reason="OpenTelemetry is not installed", mend=mend)
        return
    trail.collect(Spans.to_receiver(connector))
    log.info("spans_collected")
