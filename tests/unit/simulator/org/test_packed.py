"""Rows of very large tables: held as bytes, and read as they were written."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from salmon.simulator.org.objects.describes import load_describes
from salmon.simulator.org.org import Org
from salmon.simulator.org.packed import PackedRows
from salmon.simulator.seed import filling

VALUES = st.sampled_from(
    ["", "x", "é\ud83d", True, False, 0, 2**40, -1.5, 1e300, Decimal("123456789012345678")]
)
ROWS = st.dictionaries(st.sampled_from(["Name", "Phone", "Amount", "Open__c", "Note__c"]), VALUES)


@given(rows=st.lists(ROWS))
def test_rows_are_read_as_they_were_written(rows: list[dict[str, object]]) -> None:
    """Whatever fields each has, in whatever order they become known; those that are written again, too."""
    packed = PackedRows()
    plain: dict[str, dict[str, object]] = {}
    for number, row in enumerate(rows):
        key = str(number % 3)
        packed[key] = row  # type: ignore[assignment]
        plain[key] = row
    assert dict(packed.items()) == plain
    assert list(packed.values()) == list(plain.values())
    assert [packed[key] for key in packed] == [packed.get(key) for key in plain]
    assert packed.get("none") is None
    assert [packed.pop(key) for key in plain] == list(plain.values())
    assert packed.pop("none", None) is None
    assert len(packed) == 0


def test_a_row_that_was_read_is_a_copy() -> None:
    """Nobody changes the table by it."""
    packed = PackedRows([("1", {"Name": "A"})])
    dict(packed["1"])["Name"] = "B"
    assert packed["1"] == {"Name": "A"}


def test_an_org_with_packed_rows_is_like_any_other() -> None:
    """Written, found, deleted, restored and rolled back; numbers keep all their digits."""
    plain, packed = (Org(load_describes()) for _ in range(2))
    for name in packed.objects:
        packed.tables[name].pack()
    seen = []
    for org in (plain, packed):
        filling.load(org, {"Account": 30, "Contact": 60}, 5)
        with org.transaction(org.person) as unit:
            account = unit.insert("Account", {"Name": "New", "AnnualRevenue": Decimal("123456789012345678")})
            contact = unit.insert("Contact", {"LastName": "Baker", "AccountId": account})
            unit.update("Contact", contact, {"Phone": "1"})
        with org.transaction(org.person) as unit:
            unit.delete("Account", account)
        with org.transaction(org.person) as unit:
            unit.undelete("Account", account)
        with org.transaction(org.person) as unit:
            unit.update("Account", account, {"Name": "Other"})
            unit.rollback()
        table = org.tables["Contact"]
        found = table.find(table.type.fields[[f.name for f in table.type.fields].index("AccountId")], account)
        seen.append((org.get("Account", account), org.get("Contact", contact), found, len(table.rows())))
    (account_row, contact_row, *rest), (packed_account, packed_contact, *packed_rest) = seen
    stamps = {"CreatedDate", "LastModifiedDate", "SystemModstamp"}
    for one, other in ((account_row, packed_account), (contact_row, packed_contact)):
        assert one is not None
        assert other is not None
        assert {k: v for k, v in one.items() if k not in stamps} == {
            k: v for k, v in other.items() if k not in stamps
        }
    assert rest == packed_rest
