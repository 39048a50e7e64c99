"""
What the console asks of a sync and does to it: each is a command's work (`salmon why`, `conflicts`, `retry`, `dlq`, `guard`, `doctor`,
`verify`), by the same code. All of it blocks: for threads only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import Any, Final

import structlog

from salmon.api.problems import Problem
from salmon.config.models import SyncConfig
from salmon.dlq.editing import draft_of, edit, shown_fields
from salmon.dlq.letters import Found, Handled, LetterFilter, StoredLetter, found, one
from salmon.dlq.replaying import DealtWith, Plan, Planner, discard, replay
from salmon.doctor.checks import Line
from salmon.doctor.doctor import diagnose
from salmon.errors import SalmonError
from salmon.guard.deciding import WaitingDeletes, opened
from salmon.story.conflicts import ConflictFilter, ConflictPage, listed
from salmon.story.lookup import Lookup
from salmon.story.reading import Story, story_of
from salmon.story.rereading import read_record_again
from salmon.story.resolving import Resolved, Take, decide, enter
from salmon.story.retrying import RefusalFilter, RefusedWrite, refusals, send_again
from salmon.verify.verifying import VerifyResult, Wanted, verify

log = structlog.get_logger(__name__)

_AT_ONCE_MAX: Final = 4  # each opens clients of Kafka's
_PATIENCE_S: Final = 10.0
_RESOLVE_WAIT_S: Final = 10.0
LETTERS_MAX: Final = 200
CONFLICTS_MAX: Final = 200


@dataclass
class Comparison:
    """A run of `verify`: how far it is, and what came of it."""

    by: str
    objects: Sequence[str]  # empty: all
    repair: bool
    began_s: float
    progress: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)  # object, what -> done, of
    result: VerifyResult | None = None
    trouble: str = ""

    @property
    def runs(self) -> bool:
        return self.result is None and not self.trouble


class Operations:
    """
    Args:
        live: Returns the configuration that counts now.
    """

    def __init__(self, live: Callable[[], SyncConfig]) -> None:
        self._live = live
        self._slots = BoundedSemaphore(_AT_ONCE_MAX)
        # Of two operators that act at once, Kafka lets only the newer one finish.
        self._acting, self._diagnosing, self._starting = Lock(), Lock(), Lock()
        self.comparison: Comparison | None = None  # the last one

    # Records.

    def story(self, name: str, text: str, *, hidden: Collection[str]) -> Story:
        """What happened to a record, and what it waits for. *hidden*: fields whose values are not shown."""
        with self._lookup() as lookup:
            return story_of(lookup, name, text, now_ms=_now_ms(), hidden=hidden)

    def read_again(self, name: str, key: str, *, by: str, reason: str) -> Sequence[str]:
        """Have the sources read a record again. Returns the sides that are asked."""
        with self._turn(self._acting, _PATIENCE_S), self._lookup() as lookup:
            why = f"read again by {by}" + (f": {reason}" if reason else "")
            return read_record_again(lookup, name, key, reason=why)

    # Conflicts.

    def conflicts(self, asked: ConflictFilter) -> tuple[ConflictPage, Mapping[str, dict[str, Any]]]:
        """Those that match, the newest first, and by its id what each is about."""
        with self._lookup() as lookup:
            page = listed(lookup, asked, limit=CONFLICTS_MAX)
            return page, {each.id: self._conflict_dict(lookup, each) for each in page.conflicts}

    def resolve(
        self, wanted: Sequence[tuple[str, str, str]], take: Take, *, by: str, reason: str
    ) -> list[Resolved]:
        """Decide fields of records: (object, key, field). All are written, or none."""
        fields: dict[tuple[str, str], list[str]] = {}
        for name, key, each in wanted:
            fields.setdefault((name, key), []).append(each)
        with self._turn(self._acting, _PATIENCE_S), self._lookup() as lookup:
            decisions = [decide(lookup, name, key, some, take) for (name, key), some in fields.items()]
            return enter(lookup, decisions, by=by, reason=reason, wait_s=_RESOLVE_WAIT_S)

    # What was refused, and dead letters.

    def refused(self, asked: RefusalFilter) -> list[RefusedWrite]:
        with self._lookup() as lookup:
            return refusals(lookup, asked)

    def retry(self, asked: RefusalFilter, *, by: str, reason: str) -> list[RefusedWrite]:
        """Send again what was refused and matches. Returns it."""
        with self._turn(self._acting, _PATIENCE_S), self._lookup() as lookup:
            some = refusals(lookup, asked)
            send_again(lookup, some, by=by, reason=reason)
            return some

    def letters(self, asked: LetterFilter) -> Found:
        with self._lookup() as lookup:
            return found(lookup, asked, limit=LETTERS_MAX)

    def letter(self, text: str) -> tuple[StoredLetter, Handled | None, Plan, Mapping[str, Any] | None]:
        """A dead letter, what was done with it, what a replay does, and its fields, as far as they can be read."""
        with self._lookup() as lookup:
            letter, done = one(lookup, text)
            return letter, done, Planner(lookup).plan(letter), shown_fields(lookup, letter)

    def draft(
        self, text: str, *, hidden_in: Callable[[StoredLetter], Collection[str]]
    ) -> tuple[StoredLetter, str]:
        """
        A dead letter, and its fields as YAML to correct.

        Args:
            hidden_in: The fields of a letter whose values are not shown.

        Raises:
            ConfigError, DataError: it cannot be edited; the message says what to do instead.
        """
        with self._lookup() as lookup:
            letter, _ = one(lookup, text)
            draft = draft_of(lookup, letter, by="", reason="", now_ms=_now_ms())
            return letter, draft.text_without(hidden_in(letter))

    def edit(self, text: str, corrected: str, *, by: str, reason: str) -> Plan:
        """Send a dead letter with corrected fields. Returns what was done. Raises ConfigError, DataError: nothing was sent."""
        with self._turn(self._acting, _PATIENCE_S), self._lookup() as lookup:
            _, plan = edit(
                lookup,
                text,
                lambda draft: draft.corrected(corrected),
                by=by,
                reason=reason,
                now_ms=_now_ms(),
            )
            return plan

    def replay(self, asked: LetterFilter, *, by: str, reason: str, dry_run: bool = False) -> DealtWith:
        return self._deal(partial(replay, dry_run=dry_run), asked, by, reason)

    def discard(self, asked: LetterFilter, *, by: str, reason: str, dry_run: bool = False) -> DealtWith:
        return self._deal(partial(discard, dry_run=dry_run), asked, by, reason)

    def _deal(self, how: Callable[..., DealtWith], asked: LetterFilter, by: str, reason: str) -> DealtWith:
        with self._turn(self._acting, _PATIENCE_S), self._lookup() as lookup:
            return how(lookup, asked, by=by, reason=reason)

    # The delete guard.

    def waiting_deletes(self) -> list[WaitingDeletes]:
        with self._slot(), opened(self._live(), by="") as desk:
            return desk.waiting()

    def decide_deletes(self, name: str, side: str, *, approve: bool, by: str) -> list[WaitingDeletes]:
        """Approve or discard the deletes that wait. Returns them."""
        with self._turn(self._acting, _PATIENCE_S), self._slot(), opened(self._live(), by=by) as desk:
            waiting = desk.waiting((name,), (side,))
            for each in waiting:
                (desk.approve if approve else desk.discard)(each)
            return waiting

    # Doctor and verify.

    def diagnose(self) -> list[Line]:
        """Look at everything that the sync needs."""
        with self._turn(self._diagnosing, 0):
            return list(diagnose(self._live()))

    def compare(self, objects: Sequence[str], *, repair: bool, by: str) -> bool:
        """Start a comparison. Returns whether it began: only one runs at a time."""
        with self._starting:
            if self.comparison is not None and self.comparison.runs:
                return False
            self.comparison = Comparison(by, tuple(objects), repair, time.time())
            threading.Thread(
                target=self._compare, args=(self.comparison,), name="console-verify", daemon=True
            ).start()
        return True

    def _compare(self, run: Comparison) -> None:
        def watch(name: str, what: str, done: int, total: int) -> None:
            run.progress[name, what] = (done, max(done, total))

        try:
            run.result = verify(self._live(), wanted=Wanted(run.objects, repair=run.repair), watcher=watch)
        except SalmonError as error:
            run.trouble = str(error)
        except Exception:
            log.exception("console_verify_failed")
            run.trouble = "This is a fault in Salmon. See the log of the process."

    # What they share.

    def _slot(self) -> AbstractContextManager[None]:
        # Nobody waits for one: the threads that wait would be missing for every other request.
        return self._turn(self._slots, 0)

    @contextmanager
    def _turn(self, of: Lock | BoundedSemaphore, wait_s: float) -> Iterator[None]:
        """Hold *of*. Raises Problem: 503, others have it for longer than *wait_s*."""
        if not (of.acquire(timeout=wait_s) if wait_s else of.acquire(blocking=False)):
            raise Problem(
                503,
                "busy",
                "Too many people do this at once. Try again in a moment.",
                headers={"Retry-After": "2"},
            )
        try:
            yield
        finally:
            of.release()

    @contextmanager
    def _lookup(self) -> Iterator[Lookup]:
        with self._slot(), Lookup(self._live()) as lookup:
            yield lookup

    def _conflict_dict(self, lookup: Lookup, entry: Any) -> dict[str, Any]:
        contest = entry.conflict.contest
        known = contest.object in lookup.config.objects
        schema = lookup.rules(contest.object).schema.by_name if known else {}
        return dict(entry.as_dict(schema.get(contest.field)))


def _now_ms() -> int:
    return int(time.time() * 1000)
