"""SOQL: the clauses around a query that say for whom it is and what it is for."""

from __future__ import annotations

import pytest

from salmon.simulator.org.refusals import BadRequest
from salmon.simulator.org.sessions import User
from salmon.simulator.soql.answering import run_query
from support.orgs.orgs import OrgAtHand


def names(at_hand: OrgAtHand, text: str, user: User | None = None) -> list[str]:
    result = run_query(at_hand.org, text, user=user or at_hand.org.person)
    return [record["Name"] for record in result.records(0, result.total, "64.0")]


def test_the_scope_mine_finds_what_the_user_owns() -> None:
    """Everything is what is found without a scope; the case of either does not matter."""
    at_hand = OrgAtHand()
    other = at_hand.org.integration_user
    at_hand.account(Name="Mine")
    at_hand.account(Name="Theirs", OwnerId=other.user_id)
    assert names(at_hand, "SELECT Name FROM Account USING SCOPE everything") == ["Mine", "Theirs"]
    assert names(at_hand, "SELECT Name FROM Account a USING SCOPE Mine") == ["Mine"]
    assert names(at_hand, "SELECT Name FROM Account USING SCOPE mine", other) == ["Theirs"]
    assert names(at_hand, "SELECT Name FROM Account USING SCOPE mine WHERE Name = 'Theirs'") == []


@pytest.mark.parametrize("clause", ["FOR VIEW", "for reference", "FOR VIEW FOR UPDATE"])
def test_what_is_queried_for_view_is_among_the_users_recent_records(clause: str) -> None:
    """Of what is found, and for that user alone."""
    at_hand = OrgAtHand()
    seen = at_hand.account(Name="Seen")
    at_hand.account(Name="Not seen")
    assert names(at_hand, f"SELECT Name FROM Account WHERE Name = 'Seen' LIMIT 5 {clause}") == ["Seen"]
    assert at_hand.org.recent.of(at_hand.org.person.user_id) == [seen]
    assert at_hand.org.recent.of(at_hand.org.integration_user.user_id) == []


def test_a_query_for_update_finds_the_same_and_nobody_has_viewed_it() -> None:
    """Its lock ends with the query: the records can be written afterwards."""
    at_hand = OrgAtHand()
    account = at_hand.account(Name="One")
    assert names(at_hand, "SELECT Name FROM Account LIMIT 1 FOR UPDATE") == ["One"]
    at_hand.update("Account", account, Name="Two")
    assert at_hand.org.recent.of(at_hand.org.person.user_id) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("SELECT Id FROM Account USING SCOPE team", "the scope team is not served by the simulator"),
        ("SELECT Id FROM Account USING mine", "unexpected token: 'mine'"),
        ("SELECT Id FROM Profile USING SCOPE mine", "the scope mine is not supported by Profile"),
        ("SELECT Id FROM Account ORDER BY Name FOR UPDATE", "ORDER BY is not allowed with FOR UPDATE"),
        ("SELECT Id FROM Account FOR SALE", "unexpected token: 'SALE'"),
        ("SELECT Id FROM Account FOR VIEW LIMIT 1", "unexpected token: 'LIMIT'"),
        ("SELECT Id FROM Account FOR UPDATE FOR VIEW", "unexpected token: 'FOR'"),
        ("SELECT Id, (SELECT Id FROM Contacts FOR VIEW) FROM Account", "unexpected token: 'FOR'"),
        (
            "SELECT Id, (SELECT Id FROM Contacts USING SCOPE mine) FROM Account",
            "USING is not served by the simulator",
        ),
    ],
)
def test_a_clause_that_cannot_be_is_refused_with_its_place(text: str, what: str) -> None:
    """MALFORMED_QUERY."""
    at_hand = OrgAtHand()
    with pytest.raises(BadRequest) as refused:
        run_query(at_hand.org, text, user=at_hand.org.person)
    assert refused.value.code == "MALFORMED_QUERY"
    assert what in refused.value.message
    assert "ERROR at Row:1:Column:" in refused.value.message
