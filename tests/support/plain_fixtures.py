"""Fixtures of tests that need no server; a plugin, so that mutants are tried with them too, where the topmost conftest is not read."""

from __future__ import annotations

import logging
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
    before, levels = structlog.get_config(), _levels()
    yield
    structlog.configure(**before)
    for name, level in _levels().items():
        if level != (former := levels.get(name, logging.NOTSET)):
            logging.getLogger(name).setLevel(former)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until the test moves it."""
    return Clock()


def _levels() -> dict[str, int]:
    """The level of each of our loggers."""
    loggers = logging.root.manager.loggerDict.items()
    return {
        name: each.level
        for name, each in loggers
        if name.startswith("salmon") and isinstance(each, logging.Logger)
    }
