"""Failures of plugins at work: each is counted, and each kind is named once."""

from __future__ import annotations

from structlog.testing import capture_logs

from salmon.plugin.failures import Failures


def test_each_kind_of_failure_is_named_once_and_each_is_counted() -> None:
    """A million records would be a million lines."""
    failures = Failures()
    with capture_logs() as said:
        for _ in range(3):
            failures.count("phone_digits", "KeyError")
        failures.count("phone_digits", "TypeError")
        failures.count("phone_from", "KeyError")
    assert failures.counts() == {"phone_digits": 4, "phone_from": 1}
    assert [(line["event"], line["plugin"], line["why"]) for line in said] == [
        ("plugin_failed", "phone_digits", "KeyError"),
        ("plugin_failed", "phone_digits", "TypeError"),
        ("plugin_failed", "phone_from", "KeyError"),
    ]
