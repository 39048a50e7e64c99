"""Makes pages of templates. Every value is escaped, and no page has a script or a style of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from salmon import __version__
from salmon.api.console.visitors import Visitor
from salmon.story.formatting import side_named, span, when

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# The pages, in the order of the menu: address, title.
MENU: Final = (
    ("/", "Overview"),
    ("/records", "Records"),
    ("/conflicts", "Conflicts"),
    ("/refused", "Refused"),
    ("/objects", "Objects"),
    ("/reports", "Reports"),
    ("/guard", "Guard"),
    ("/flows", "Flows"),
    ("/doctor", "Doctor"),
    ("/verify", "Verify"),
)


class Rendering:
    """
    Args:
        sync: The sync's name.
        path: Where the console is.
    """

    def __init__(self, sync: str, path: str) -> None:
        self.path = path
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(sync=sync, base=path, menu=MENU, version=__version__)
        self._environment.filters.update(
            side=side_named,
            when=when,
            span=span,
            count=_count,
            newest=_newest,
            seconds=_seconds,
            value=_value,
            clock=_clock,
            measure=_measure,
        )

    def text(self, template: str, **facts: Any) -> str:
        """A part of a page."""
        return self._environment.get_template(template).render(**facts)

    def page(self, request: Request, template: str, *, code: int = 200, **facts: Any) -> HTMLResponse:
        """A page."""
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        here = request.url.path.removeprefix(self.path)
        text = self.text(template, visitor=visitor, here=here, **facts)
        return HTMLResponse(text, status_code=code)


def _count(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def _newest(rates: Sequence[float | None]) -> str:
    newest = rates[-1] if rates else None
    return "–" if newest is None else f"{newest:.1f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None or math.isnan(seconds):
        return "–"
    return span(round(seconds * 1000))


def _clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S UTC")


def _measure(value: Any) -> str:
    """A number with its thousands apart; what is none as it is."""
    if isinstance(value, int | float):
        return f"{value:,}"
    return "–" if value is None else str(value)


def _value(value: Any) -> str:
    """A record's value as text."""
    if value is None:
        return "(empty)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list | tuple):
        return ", ".join(map(str, value))
    return str(value)
