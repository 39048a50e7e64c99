"""An org in memory without any server, and what a test wants to say to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salmon.simulator.org.objects.describes import PACKAGED, load_describes
from salmon.simulator.org.org import Org
from salmon.simulator.org.saving.triggers import parse_trigger
from salmon.simulator.org.transaction import RecordChange, Row, Transaction

DESCRIBES = (
    Path(__file__).parents[2] / "data" / "salesforce" / "describe"
)  # objects the product does not bring along


class OrgAtHand:
    """An org whose user is a person, with everything it told its listeners."""

    def __init__(self, describe_folder: Path = PACKAGED) -> None:
        self.org = Org(load_describes(describe_folder, marker_fields=True))
        self.told: list[Transaction] = []
        self.org.add_listener(self.told.append)

    @property
    def changes(self) -> list[RecordChange]:
        """All changes of all transactions, in order."""
        return [change for transaction in self.told for change in transaction.changes]

    def insert(self, object_name: str, **fields: Any) -> str:
        with self.org.transaction(self.org.person) as unit:
            return unit.insert(object_name, fields)

    def update(self, object_name: str, record_id: str, **fields: Any) -> None:
        with self.org.transaction(self.org.person) as unit:
            unit.update(object_name, record_id, fields)

    def delete(self, object_name: str, record_id: str) -> None:
        with self.org.transaction(self.org.person) as unit:
            unit.delete(object_name, record_id)

    def undelete(self, object_name: str, record_id: str) -> None:
        with self.org.transaction(self.org.person) as unit:
            unit.undelete(object_name, record_id)

    def row(self, object_name: str, record_id: str) -> Row:
        """The live record. Fails if there is none."""
        found = self.org.get(object_name, record_id)
        assert found is not None
        return found

    def account(self, **fields: Any) -> str:
        return self.insert("Account", **{"Name": "Acme", **fields})

    def contact(self, **fields: Any) -> str:
        return self.insert("Contact", **{"LastName": "Baker", **fields})

    def opportunity(self, **fields: Any) -> str:
        return self.insert(
            "Opportunity", **{"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-12-31", **fields}
        )

    def trigger(self, body: Mapping[str, Any]) -> None:
        self.org.triggers = (*self.org.triggers, parse_trigger(self.org.types, body))
