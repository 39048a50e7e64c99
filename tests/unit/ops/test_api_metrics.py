"""What the process of the API counts."""

from __future__ import annotations

from salmon.ops.api_metrics import ApiMetrics


def test_made_up_methods_are_one_label() -> None:
    """Whoever sends a thousand methods must not make a thousand time series, without any key."""
    metrics = ApiMetrics("api")
    for number in range(1_000):
        metrics.api_request("other", f"X{number}", 405, 0.001)
    metrics.api_request("other", "PATCH", 200, 0.001)
    samples = [each for family in metrics.registry.collect() for each in family.samples]
    counted = {s.labels["method"]: s.value for s in samples if s.name == "salmon_api_requests_total"}
    assert counted == {"other": 1_000, "PATCH": 1}
    assert {s.labels["method"] for s in samples if "method" in s.labels} == {"other", "PATCH"}
