"""Fixtures of tests that need no server; a plugin, so that mutants are tried with them too, where the topmost conftest is not read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from support.clock import Clock


@pytest.fixture(scope="session", autouse=True)
def no_logger_is_cached() -> Iterator[None]:
    """A logger that was cached by one test could not be listened to in the next (structlog.testing.capture_logs)."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            structlog, "configure", lambda **said: configure(**{**said, "cache_logger_on_first_use": False})
        )
        yield


@pytest.fixture(autouse=True)
def logs_as_before(no_logger_is_cached: None) -> Iterator[None]:
    """What a test makes of the logs is gone after it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until the test moves it."""
    return Clock()
