"""What the pages work with, and what they share: asking once before something is done, and noting who did it and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from fastapi import Request
from starlette.responses import Response

from salmon.api.console.operations import Operations
from salmon.api.console.rendering import Rendering
from salmon.api.console.visitors import Visitor, Visitors
from salmon.api.console.watching import Watching
from salmon.api.handle import Api
from salmon.dlq.letters import StoredLetter
from salmon.story.formatting import without_words

log = structlog.get_logger(__name__)

REASON_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Question:
    """
    What a person is asked before something is done.

    Args:
        action: Where the form goes, below the console.
        lines: What will happen, and to what.
        fields: What the form sends along: name -> its value or values.
        button: What confirms it.
        choices: What is chosen in the form: value -> its label; sent as `take`.
        own_value: Whether the form also takes a value that the person types; sent as `value`.
    """

    title: str
    action: str
    lines: Sequence[str]
    fields: Mapping[str, str | Sequence[str]]
    button: str
    back: str
    choices: Mapping[str, str] = field(default_factory=dict)
    own_value: bool = False
    dangerous: bool = False

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """The fields that the form sends along, one by one."""
        return [
            (name, value)
            for name, values in self.fields.items()
            for value in ([values] if isinstance(values, str) else values)
        ]


@dataclass(frozen=True, slots=True)
class Parts:
    """What each page is made with."""

    api: Api
    operations: Operations
    watching: Watching
    visitors: Visitors
    rendering: Rendering

    @property
    def path(self) -> str:
        """Where the console is."""
        return self.rendering.path

    def ask(self, request: Request, question: Question) -> Response:
        """The page that asks once."""
        return self.rendering.page(request, "ask.html", question=question)

    def done(self, request: Request, title: str, lines: Sequence[str], *, back: str) -> Response:
        """The page that says what was done."""
        return self.rendering.page(request, "done.html", title=title, lines=lines, back=back)

    def hidden_of(self, name: str) -> frozenset[str]:
        """The fields of an object whose values are masked for a side: the console does not show them either."""
        known = self.api.objects.get(name)
        return frozenset() if known is None else known.hidden

    def hidden_in(self, letter: StoredLetter) -> frozenset[str]:
        """The same for a dead letter. One of an event that was to be published has the event's name, and is a change of an object."""
        config = self.api.live()
        names = {letter.subject}
        names |= {name for name in config.objects if config.topic_names.changes(name) == letter.topic}
        if (event := config.events.get(letter.subject)) is not None and event.object is not None:
            names.add(event.object)
        return frozenset[str]().union(*map(self.hidden_of, names))

    def reason_of(self, letter: StoredLetter) -> str:
        """Why a record was set aside; the side's own words only if no field of the object is masked."""
        return without_words(letter.reason) if self.hidden_in(letter) else letter.reason


def note(visitor: Visitor, action: str, reason: str, **facts: Any) -> None:
    """Log who did what, and why."""
    log.info("console_action", action=action, by=visitor.caller.name, reason=reason or None, **facts)
