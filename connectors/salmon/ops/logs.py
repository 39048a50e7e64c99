"""
Logs are events: one JSON object per line, or readable lines on a terminal, on standard error.

Secrets are kept out at their source (SecretStr, errors without values). The redaction here is a second safeguard. It works
on the finished line, so it also covers tracebacks and the messages of other libraries.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal

import structlog
from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from salmon.harmless import harmless, harmless_traceback

LogFormat = Literal["auto", "json", "console"]

_REDACTED: Final = "***"
_SECRET_LENGTH_MIN: Final = 4  # A shorter text is not a secret, and hiding it would hide ordinary words.
_OF_MANY_LINES: Final = frozenset({"exception", "stack"})
# What signs somebody in and is in no configuration: a session of an org, a refresh token, a JWT.
_TOKEN: Final = re.compile(
    r"\b(?:00D\w{12,15}![\w.]{20,}|5Aep861[\w.]{20,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
)
_PEM_LINE_MIN: Final = 16  # A shorter line of a key (its last one) reveals nothing.


def configure(
    *,
    log_format: LogFormat = "auto",
    level: str = "info",
    secrets: Collection[str] = (),
    **bound: str,
) -> None:
    """
    Set up logging for this process; call it once, before the first line.

    Args:
        log_format: "auto": console on a terminal, else json.
        level: Python's names, any case.
        secrets: The configured secret values. None of them appears in a line, in any usual encoding.
        bound: Facts that are in every line, e.g. connector="merge".
    """
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        _Bound(bound),  # Threads do not inherit context variables; these facts hold for the whole process.
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.ExceptionRenderer(lambda raised: harmless_traceback(raised[1])),
    ]
    renderers: list[Processor] = (
        [_shown_harmlessly, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.JSONRenderer(default=str)]  # which writes ASCII
    )
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderers,
                Redaction(secrets),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # Libraries log only warnings and errors.
    logging.captureWarnings(True)
    # gRPC writes directly to standard error, around everything here. What it says also arrives as errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("salmon").setLevel(level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=_Logger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def secrets_of(config: BaseModel) -> set[str]:
    """Return every secret value in a configuration, including the passwords in URLs on their own."""
    found: set[str] = set()
    _collect(dict(config), found)
    for secret in list(found):
        for password in filter(None, _passwords_in(secret)):
            found |= {password, urllib.parse.unquote(password), urllib.parse.unquote_plus(password)}
    return found


def _passwords_in(secret: str) -> Iterator[str]:
    """
    The passwords inside of a connection string. Nothing is refused: urlsplit raises an error for passwords that drivers
    accept, and one with a / or a ? that should have been escaped is still a password. So what could be one counts as one.
    """
    _, is_address, rest = secret.partition("://")
    if not is_address:
        return
    for authority in (rest, re.split("[/?#]", rest, maxsplit=1)[0]):
        user_and_password, _, _ = authority.rpartition("@")
        yield user_and_password.partition(":")[2]
    for option in re.split("[?&;]", rest)[1:]:
        name, _, value = option.partition("=")
        if "password" in name.lower():  # of a key file, of a proxy
            yield value
        elif name.lower() == "authmechanismproperties":
            yield value.partition("AWS_SESSION_TOKEN:")[2].partition(",")[0]


def _collect(content: Any, found: set[str]) -> None:
    match content:
        case Secret() | SecretStr() | SecretBytes():
            secret = content.get_secret_value()
            found.add(secret.decode(errors="replace") if isinstance(secret, bytes) else str(secret))
        case BaseModel():
            _collect(dict(content), found)
        case Mapping():
            _collect(list(content.values()), found)
        case list() | tuple():
            for each in content:
                _collect(each, found)


class Redaction:
    """Return a processor of finished lines that replaces every form of every secret, and every token, by ***."""

    def __init__(self, secrets: Collection[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = sorted(
            forms, key=len, reverse=True
        )  # Longer ones first: they may contain shorter ones.

    def __call__(self, _logger: WrappedLogger, _method: str, line: Any) -> Any:
        """Return *line* without secrets."""
        text = line if isinstance(line, str) else str(line)
        for form in self._forms:
            if form in text:
                text = text.replace(form, _REDACTED)
        return _TOKEN.sub(_REDACTED, text)


def _shown_harmlessly(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape values and names, which may come from outside. A traceback keeps its lines."""
    return {
        harmless(str(name)): harmless(value, keep="\n" if name in _OF_MANY_LINES else "")
        if isinstance(value, str)
        else value
        for name, value in event.items()
    }


class _Logger(structlog.stdlib.BoundLogger):
    """
    A line below the level costs one look at the level. structlog would build the line first, which takes longer than the write
    that it reports. The level is asked each time, because it may be set while the process runs.
    """

    def debug(self, event: str | None = None, *args: Any, **kw: Any) -> Any:
        return super().debug(event, *args, **kw) if self.isEnabledFor(logging.DEBUG) else None

    def info(self, event: str | None = None, *args: Any, **kw: Any) -> Any:
        return super().info(event, *args, **kw) if self.isEnabledFor(logging.INFO) else None


class _StandardError(logging.Handler):
    """Writes to the current standard error, which tests and others may replace."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - logging's own way to say that a line could not be written
            self.handleError(record)


class _Bound:
    def __init__(self, facts: dict[str, str]) -> None:
        self._facts = facts

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**self._facts, **event}


def _forms(secret: str) -> Iterator[str]:
    """Return the forms of a secret: as it is, as in JSON, as in a URL, and each line of a PEM key."""
    if len(secret) < _SECRET_LENGTH_MIN:
        return
    yield secret
    yield json.dumps(secret)[1:-1]
    yield urllib.parse.quote(secret, safe="")
    yield urllib.parse.quote_plus(secret)
    if "\n" in secret:
        yield from (
            line
            for line in secret.splitlines()
            if len(line) >= _PEM_LINE_MIN and not line.startswith("-----")
        )
