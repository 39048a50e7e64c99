"""
Deletions that other records stand in the way of: which ones, and whether they are about to go.

An org refuses to delete a record while others refer to it by a lookup that forbids that (a case of an account, by default). It names
them in words of the user's language alone, so they are looked for by the lookups that do so, as far as they are synced. While such
a record is owed a write that deletes it, or makes it refer to another one, nothing is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from salmon.errors import RequestRejected
from salmon.model.change import WriteOp
from salmon.model.schema import ObjectSchema
from salmon.plugin.contract import Outcome, OutcomeKind, OwedTo
from salmon.salesforce.wire import soql
from salmon.salesforce.wire.batches import IDS_A_QUERY, batches
from salmon.salesforce.wire.codes import BLOCKED
from salmon.salesforce.writing.markers import Querying
from salmon.salesforce.writing.references import RecordId

log = structlog.get_logger(__name__)

Lookup = tuple[str, str]  # an object, and its field


@dataclass(frozen=True, slots=True)
class Refused:
    """A deletion that the org refuses."""

    id: RecordId
    native_id: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Child:
    object: str
    key: str
    field: str  # by which it refers


class BlockedDeletes:
    """
    Args:
        forbids: Object -> the lookups to it that forbid to delete what they refer to.
        owed: What is owed to other records.
    """

    def __init__(
        self,
        org: Querying,
        schemas: Mapping[str, ObjectSchema],
        forbids: Mapping[str, Collection[Lookup]],
        owed: OwedTo,
    ) -> None:
        self._org, self._schemas, self._forbids, self._owed = org, schemas, forbids, owed

    def outcomes(self, refused: Mapping[int, Refused]) -> dict[int, Outcome]:
        """
        Put again later, while all that stands in the way is about to go; else a refusal that names what stays.

        Raises RetriableError: nothing is known of any of them.
        """
        found: dict[str, list[_Child]] = {}
        for name in dict.fromkeys(each.id[0] for each in refused.values()):
            ids = [each.native_id for each in refused.values() if each.id[0] == name]
            for native_id, child in self._children(name, ids):
                found.setdefault(native_id, []).append(child)
        return {at: self._outcome(each, found.get(each.native_id, ())) for at, each in refused.items()}

    def _children(self, name: str, ids: Sequence[str]) -> Iterator[tuple[str, _Child]]:
        """Synced records that refer to *ids*, each with the Id; of very many, those of one page."""
        for child, field in sorted(self._forbids.get(name, ())):
            schema = self._schemas.get(child)
            if schema is None or field not in schema.by_name:
                continue
            key = schema.markers.key
            for some in batches(ids, IDS_A_QUERY):
                asked = soql.select(["Id", key, field], child, where=[soql.one_of(field, some)])
                try:
                    page = next(iter(self._org.pages(asked)), None)
                except RequestRejected as error:
                    log.info("children_not_shown", object=child, code=error.code)
                    continue
                for row in page.rows if page is not None else ():
                    yield row[field], _Child(child, row.get(key) or row["Id"], field)

    def _outcome(self, refused: Refused, children: Iterable[_Child]) -> Outcome:
        stays = [child for child in children if not self._goes(child, refused.id)]
        if stays:
            name, key = stays[0].object, stays[0].key
            reason = f"{refused.outcome.reason}: {name} {key} refers to it. When that one is deleted or refers to another, this is deleted by itself"
            return replace(refused.outcome, reason=reason, waits_for=((name, key),))
        if children:
            reason = "a record that refers to it is about to be deleted, or to refer to another"
            return Outcome(OutcomeKind.RETRY_LATER, code=BLOCKED, reason=reason)
        return refused.outcome

    def _goes(self, child: _Child, parent: RecordId) -> bool:
        owed = self._owed(child.object, child.key)
        if owed is None or owed.op is WriteOp.DELETE:
            return owed is not None
        return child.field in owed.fields and owed.fields[child.field] != parent[1]
