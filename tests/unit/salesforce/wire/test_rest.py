"""REST calls against answers made here: signing in, errors by their codes, pages, the clock."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from requests.adapters import HTTPAdapter

from salmon.errors import (
    ConfigError,
    LoginChanged,
    RateLimited,
    RequestRejected,
    SalmonError,
    SetupError,
    SignInRefused,
    Unavailable,
    UnfitServer,
)
from salmon.salesforce.config import ApiBudget, SalesforceConfig
from salmon.salesforce.wire.budget import OverBudget, of_api_calls
from salmon.salesforce.wire.clock import OrgClock
from salmon.salesforce.wire.http import Https
from salmon.salesforce.wire.pause import Pause
from salmon.salesforce.wire.rest import Rest
from salmon.salesforce.wire.signing_in.auth import SignIn
from support.orgs.boxes import recorded
from support.orgs.rest_wire import DATE, DATE_S, TOKEN, Answer, Wire


def config(**auth: Any) -> SalesforceConfig:
    given = auth or {"flow": "client_credentials", "client_id": "id", "client_secret": "hush"}
    return SalesforceConfig.model_validate({"auth": given})


def rest(*answers: Answer) -> tuple[Rest, Wire]:
    wire = Wire(*answers)
    return Rest(config(), https=wire), wire  # type: ignore[arg-type]


def error(code: str, status: int = 400, **headers: str) -> Answer:
    return status, [{"errorCode": code, "message": "secret words", "fields": []}], headers


# The wire.


@pytest.mark.parametrize("text", ["", "name: crm"])
def test_a_ca_file_without_a_certificate_is_told(tmp_path: Path, text: str) -> None:
    """By its key, before a server is met whose certificate cannot be verified with it."""
    (tmp_path / "ca.pem").write_text(text)
    with pytest.raises(ConfigError, match=r"salesforce\.ca_file: .* has no certificate"):
        Https(str(tmp_path / "ca.pem"))


def test_a_certificate_that_does_not_verify_is_a_mistake_only_until_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A captive portal, or a certificate renewed late: whoever was served before waits for it (case S4)."""

    def refuse(*_: Any, **__: Any) -> None:
        raise requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED")

    https = Https(None)
    monkeypatch.setattr(https._session, "request", refuse)
    with pytest.raises(SignInRefused, match=r"salesforce\.ca_file: the certificate of org\.example"):
        https.send("GET", "https://org.example/services", key="salesforce.login_url")


def test_each_call_that_may_be_made_at_the_same_time_has_a_connection_that_is_kept() -> None:
    """One that finds no room in the pool costs a TLS handshake each time, and is longer than the call itself."""
    (most,) = [
        bound.le
        for bound in SalesforceConfig.model_fields["concurrent_writes"].metadata
        if hasattr(bound, "le")
    ]
    adapter = Https(None)._session.get_adapter("https://acme.my.salesforce.com")
    assert isinstance(adapter, HTTPAdapter)
    assert adapter._pool_maxsize > most  # type: ignore[attr-defined]


# Signing in.


def test_a_jwt_says_who_wants_in_where_and_for_how_long(private_key: str) -> None:
    """Signed by the key, for the login host, for two minutes: ours may be a minute fast, and three are the most."""
    wire = Wire()
    auth = {"flow": "jwt_bearer", "client_id": "id", "username": "sync@acme", "private_key": private_key}
    token = SignIn(config(**auth), wire, now_s=lambda: DATE_S).token()  # type: ignore[arg-type]
    assert (token.organization_id, token.user_id) == ("00D000000000001AAA", "005000000000001AAA")
    assertion = wire.asked[0][2]["data"]["assertion"]
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert claims == {
        "iss": "id",
        "sub": "sync@acme",
        "aud": "https://login.salesforce.com",
        "exp": DATE_S + 120,
    }


def test_a_clock_that_is_off_is_set_right_by_the_orgs(private_key: str) -> None:
    """An assertion of yesterday is refused; the refusal tells the time."""
    wire = Wire()
    answers = deque([(400, {"error": "invalid_grant", "error_description": "expired"}), (200, TOKEN)])
    wire.token_answer = answers.popleft
    auth = {"flow": "jwt_bearer", "client_id": "id", "username": "sync@acme", "private_key": private_key}
    SignIn(config(**auth), wire, now_s=lambda: DATE_S - 86_400).token()  # type: ignore[arg-type]
    claims = jwt.decode(wire.asked[1][2]["data"]["assertion"], options={"verify_signature": False})
    assert claims["exp"] == DATE_S + 120


@pytest.mark.parametrize(
    ("answer", "raised", "told"),
    [
        ((400, {"error": "invalid_client_id"}), ConfigError, "salesforce.auth.client_id"),
        ((400, {"error": "invalid_app_access", "error_description": "user is not admin approved"}), SetupError, "approved"),
        ((404, "<html>"), ConfigError, "salesforce.login_url"),
        ((503, "<html>"), Unavailable, "HTTP 503"),
        ((429, "slow"), RateLimited, "too many"),
        ((200, {"access_token": "x"}), SetupError, "lacks"),
    ],
)  # fmt: skip
def test_a_sign_in_that_is_refused_says_whose_mistake_it_is(
    answer: Answer, raised: type[SalmonError], told: str
) -> None:
    """Ours to set right in the config, an admin's to set up, or nobody's."""
    wire = Wire()
    wire.token_answer = lambda: answer
    with pytest.raises(raised, match=told) as caught:
        SignIn(config(), wire, now_s=lambda: DATE_S).token()  # type: ignore[arg-type]
    assert "hush" not in str(caught.value)


def test_a_token_is_renewed_once_for_all_who_share_it() -> None:
    """Ten threads find it refused; one signs in."""
    wire = Wire()
    sign_in = SignIn(config(), wire, now_s=lambda: DATE_S)  # type: ignore[arg-type]
    refused = sign_in.token()
    threads = [threading.Thread(target=sign_in.renew, args=(refused,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wire.sign_ins() == 2
    assert "00D!" not in repr(refused)


@pytest.mark.parametrize(
    "who", ["00D000000000001AAA/005000000000009AAA", "00D000000000009AAA/005000000000001AAA"]
)
def test_another_user_or_another_org_than_before_has_everything_begun_again(who: str) -> None:
    """An admin changed the run-as user, or refreshed the sandbox: nothing is read or written as somebody else by the way."""
    api, wire = rest(*[error("INVALID_SESSION_ID", 401)] * 2)
    api.sign_in.token()
    wire.token_answer = lambda: (200, {**TOKEN, "access_token": "00D!2", "id": f"https://x/id/{who}"})
    for _ in range(2):
        with pytest.raises(LoginChanged, match=who.replace("/", "|")):
            api.update([{"Id": "001000000000001AAA"}])
    assert not wire.answers, "the new token was used for nothing"


# Calls.


def test_a_call_whose_token_is_refused_is_made_again_with_another_and_the_same_headers() -> None:
    """The caller notices nothing."""
    api, wire = rest((401, recorded("restforce_expired_session_response")), (200, {"totalSize": 3}))
    assert api.count("Account") == 3
    first, second = (request["headers"] for method, url, request in wire.asked if "/query" in url)
    assert first.pop("Authorization") != second.pop("Authorization")
    assert first == second
    assert first["Sforce-Call-Options"] == "client=Salmon"
    assert first["Sforce-Auto-Assign"] == "FALSE"


def test_an_org_that_says_it_is_elsewhere_is_asked_there() -> None:
    """An old host may answer for a while, and takes nothing: no write is set aside for it."""
    api, wire = rest(error("URL_NOT_RESET", 400), (200, {"totalSize": 3}))
    api.sign_in.token()
    moved = {**TOKEN, "access_token": "00D!2", "instance_url": "https://elsewhere.my.salesforce.com"}
    wire.token_answer = lambda: (200, moved)
    assert api.count("Account") == 3
    assert wire.asked[-1][1].startswith("https://elsewhere.my.salesforce.com/")


def test_a_token_that_is_refused_for_ever_is_no_endless_loop() -> None:
    """It is as if the org were not there."""
    api, wire = rest(*[error("INVALID_SESSION_ID", 401)] * 3)
    with pytest.raises(Unavailable):
        api.count("Account")
    assert len(wire.answers) == 1


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (error("UNABLE_TO_LOCK_ROW", 500), Unavailable),
        (error("SERVER_UNAVAILABLE", 503), Unavailable),
        (error("REQUEST_LIMIT_EXCEEDED", 403), RateLimited),
        (error("MALFORMED_QUERY"), RequestRejected),
        (error("API_DISABLED_FOR_ORG", 403), UnfitServer),
        (error("API_CURRENTLY_DISABLED", 403), Unavailable),
        ((502, "<html>bad gateway</html>"), Unavailable),
        ((429, ""), RateLimited),
        ((414, ""), RequestRejected),
        ((200, "<html>welcome</html>"), Unavailable),
    ],
)
def test_errors_are_judged_by_their_code(answer: Answer, raised: type[SalmonError]) -> None:
    """And their message, which may quote a record, is not repeated."""
    api, _ = rest(answer)
    with pytest.raises(raised) as caught:
        api.count("Account")
    assert "secret words" not in str(caught.value)


def test_a_wish_to_wait_is_passed_on() -> None:
    """As long as the server says, but not as long as a proxy may say."""
    for wish_s, until_s in ((120, 119), (10_000_000, 3599)):
        now_s = [0.0]
        wire = Wire(
            error("REQUEST_LIMIT_EXCEEDED", 503, **{"Retry-After": f"{wish_s}"}), (200, {"totalSize": 1})
        )
        api = Rest(config(), https=wire, pause=Pause(clock=partial(now_s.__getitem__, 0)))  # type: ignore[arg-type]
        with pytest.raises(RateLimited):
            api.count("Account")
        now_s[0] = until_s
        with pytest.raises(RateLimited):
            api.count("Account")
        now_s[0] = until_s + 1
        assert api.count("Account") == 1


def test_an_org_that_says_when_it_serves_again_is_asked_then() -> None:
    """However often it says so, and however: until then nobody asks, not even for the time."""
    now_s = [0.0]
    for wish in ("20", "Sun, 09 Sep 2001 01:47:00 GMT"):
        busy: Answer = (503, "<html>busy</html>", {"Retry-After": wish})
        wire = Wire(busy, busy, (200, {"totalSize": 1}))
        api = Rest(config(), https=wire, pause=Pause(clock=partial(now_s.__getitem__, 0)))  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(RateLimited, match="20 s"):
                api.count("Account")
            now_s[0] += 19
            for ask in (api.look_at_clock, partial(api.count, "Account")):
                with pytest.raises(RateLimited, match="again in 1 s"):
                    ask()
            now_s[0] += 1
        assert api.count("Account") == 1
        assert api.paused() is None


def test_a_call_is_asked_for_and_noted_unless_it_costs_nothing() -> None:
    """The budget knows at once what the org says; what it does not give is not sent."""
    budget = of_api_calls(ApiBudget(share=1.0, floor=100))
    usage = {"Sforce-Limit-Info": "api-usage=900/1000"}
    wire = Wire((200, {"totalSize": 1}, usage), (200, []))
    api = Rest(config(), https=wire, budget=budget)  # type: ignore[arg-type]
    api.count("Account")
    (state,) = budget.states()
    assert (state.ours, state.left) == (1, 0)
    with pytest.raises(OverBudget):
        api.count("Account")
    api.look_at_clock()
    assert budget.states()[0].ours == 1
    assert not wire.answers


def test_an_allowance_that_is_used_up_is_not_asked_for_again_and_again() -> None:
    """For a day it may be: each pause is longer than the one before, up to minutes, whoever asks; and people are told."""
    refusals = [error("REQUEST_LIMIT_EXCEEDED", 403)] * 100
    wire = Wire(*refusals)
    now_s = [0.0]
    api = Rest(config(), https=wire, pause=Pause(clock=partial(now_s.__getitem__, 0)))  # type: ignore[arg-type]
    while now_s[0] < 3600:
        with pytest.raises(RateLimited, match="Company Information"):
            api.count("Account")
        now_s[0] += 5
    asked = 100 - len(wire.answers)
    assert 3600 / 300 <= asked <= 3600 / 150 + 7
    waiting = api.paused()
    assert waiting is not None
    assert waiting[0] == 3600
    now_s[0] += 300
    wire.answers = deque([(200, {"totalSize": 1})])
    assert api.count("Account") == 1
    assert api.paused() is None
    wire.answers.append(error("REQUEST_LIMIT_EXCEEDED", 403))
    with pytest.raises(RateLimited):
        api.count("Account")
    with pytest.raises(RateLimited, match=r"again in [345] s"):
        api.count("Account")


def test_a_look_at_the_clock_says_nothing_about_the_allowance() -> None:
    """It costs nothing of it: it is let through, and does not make the next pause short."""
    now_s = [0.0]
    versions: Answer = (200, [])
    limited = error("REQUEST_LIMIT_EXCEEDED", 403)
    wire = Wire(limited, versions, limited, versions, limited, versions)
    api = Rest(config(), https=wire, pause=Pause(clock=partial(now_s.__getitem__, 0)))  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(RateLimited):
            api.count("Account")
        api.look_at_clock()
        now_s[0] += 10
    with pytest.raises(RateLimited, match="again in"):
        api.count("Account")


def test_too_many_sign_ins_are_not_answered_by_more_of_them() -> None:
    """The next one waits, and who asks meanwhile is told so."""
    wire = Wire()
    wire.token_answer = lambda: (429, "slow")
    sign_in = SignIn(config(), wire, now_s=lambda: DATE_S)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(RateLimited):
            sign_in.token()
    assert wire.sign_ins() == 1


def test_recorded_pages_are_followed_to_the_last() -> None:
    """By the URL that each page gives."""
    first, last = (recorded(f"restforce_query_paginated_{page}_page_response") for page in ("first", "last"))
    api, wire = rest((200, first), (200, last))
    rows = [row for page in api.pages("SELECT Id FROM Account") for row in page.rows]
    assert len(rows) == len(first["records"]) + len(last["records"])
    assert wire.asked[-1][1].endswith(first["nextRecordsUrl"])


def test_recorded_results_of_a_collection_are_mapped_to_their_records() -> None:
    """Success and failure, side by side, as a real org tells them."""
    answer = recorded("cci_collections_upsert_contact_by_email_mixed")["response"]["body"]
    api, _ = rest((200, answer))
    results = api.update([{"attributes": {"type": "Contact"}, "Id": "x"}] * len(answer))
    assert [result.success for result in results] == [row["success"] for row in answer]
    assert [result.id for result in results] == [row.get("id") for row in answer]


def test_an_answer_for_fewer_records_is_no_answer() -> None:
    """Nobody guesses which are missing."""
    api, _ = rest((200, []))
    with pytest.raises(Unavailable, match="did not answer for each"):
        api.update([{"Id": "x"}])


def test_calls_are_counted_and_the_allowance_is_seen() -> None:
    """By resource; the org's own count comes with every answer."""
    api, _ = rest(
        (200, {"totalSize": 1}, {"Sforce-Limit-Info": "api-usage=18/5000; per-app-api-usage=1/2(a=b)"})
    )
    api.count("Account")
    assert api.calls == {"query": 1}
    assert api.usage == (18, 5000)


def test_a_read_without_a_date_is_worth_nothing() -> None:
    """Rows could not be ordered against events."""
    api, _ = rest((200, {"totalSize": 1}, {"Date": ""}))
    with pytest.raises(SetupError, match="Date header"):
        api.count("Account")


# The org's clock.


def test_rows_hold_what_was_committed_a_second_before_the_clock_was_seen() -> None:
    """Both times are cut to whole seconds."""
    now_s = 100.0
    clock = OrgClock(lambda: now_s)
    assert (clock.covered, clock.now) == (None, 0)
    clock.saw(DATE)
    assert clock.covered == (DATE_S - 1) * 1000
    now_s = 103.5
    assert clock.covered == (DATE_S - 1) * 1000, "never by our own clock"
    assert clock.now == DATE_S * 1000 + 3500
    clock.passed((DATE_S + 60) * 1000)
    assert clock.now == (DATE_S + 60) * 1000
    assert clock.saw("nonsense") is None


def test_a_read_is_over_when_its_date_and_its_own_time_have_passed() -> None:
    """The header may have been stamped when the read began, and was cut to its second."""
    assert OrgClock.read_until(DATE_S * 1000, 2.5) == DATE_S * 1000 + 3500


@pytest.mark.parametrize("status", [403, 405, 408, 409, 503])
def test_a_proxys_page_refuses_no_write(status: int) -> None:
    """Whoever answers without Salesforce's code knows nothing of the records: they are put again."""
    api, wire = rest((status, "<html>Access denied</html>"))
    with pytest.raises(Unavailable):
        api.update([{"Id": "001000000000001AAA"}])
    assert wire.sign_ins() == 1


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (500, "INTERNAL_SERVER_ERROR", Unavailable),
        (503, "A_CODE_OF_NEXT_YEAR", Unavailable),
        (403, "EXCEEDED_RATE_LIMIT", Unavailable),
        (403, "LIMIT_EXCEEDED", Unavailable),
        (405, "METHOD_NOT_ALLOWED", Unavailable),
        (429, "A_CODE_OF_NEXT_YEAR", RateLimited),
        (400, "A_CODE_OF_NEXT_YEAR", RequestRejected),
        (413, "A_CODE_OF_NEXT_YEAR", RequestRejected),
        (403, "INSUFFICIENT_ACCESS", RequestRejected),
        (500, "STRING_TOO_LONG", RequestRejected),
    ],
)
def test_an_error_of_a_whole_request_that_nobody_knows_is_judged_by_its_status(
    status: int, code: str, raised: type[SalmonError]
) -> None:
    """An org in trouble, or one that slows us down, says nothing about 200 records: none of them is refused for it."""
    api, _ = rest(error(code, status))
    with pytest.raises(raised):
        api.update([{"Id": "001000000000001AAA"}])
    api, _ = rest(error(code, status))
    with pytest.raises(raised):
        api.describe("Account")


@pytest.mark.parametrize("resource", ["limits", "tooling", "permissions"])
def test_the_setup_is_closed_to_a_user_by_whatever_code(resource: str) -> None:
    """No record waits for it. A limit, a system problem and a proxy's page are what they are everywhere."""
    for answer, raised in (
        (error("A_CODE_OF_NEXT_YEAR", 403), RequestRejected),
        (error("REQUEST_LIMIT_EXCEEDED", 403), RateLimited),
        (error("API_CURRENTLY_DISABLED", 403), Unavailable),
        ((403, "<html>Access denied</html>"), Unavailable),
    ):
        api, _ = rest(answer)
        with pytest.raises(raised):
            api.ask("GET", "somewhere", resource=resource)


def test_a_resource_may_answer_without_a_body() -> None:
    """A change is answered by 204; what is no JSON is no answer of Salesforce's."""
    api, wire = rest((204, ""), (200, {"a": 1}), (200, "<html>Hello</html>"))
    assert api.ask("PATCH", "sobjects/X/1", resource="permissions", body={"A": 1}) is None
    assert wire.asked[-1][1] == "https://acme.my.salesforce.com/services/data/v64.0/sobjects/X/1"
    assert api.ask("GET", "limits", resource="limits") == {"a": 1}
    with pytest.raises(Unavailable, match="not JSON"):
        api.ask("GET", "limits", resource="limits")


@pytest.mark.parametrize(("status", "code"), [(404, "NOT_FOUND"), (410, "UNSUPPORTED_API_VERSION")])
def test_a_resource_that_is_not_there_means_no_record_that_is_gone(status: int, code: str) -> None:
    """The collections resource or its version is away: signing in again may find it, and no record was deleted."""
    api, wire = rest(*[error(code, status)] * 2)
    with pytest.raises(Unavailable, match="api_version"):
        api.update([{"Id": "001000000000001AAA"}])
    assert wire.sign_ins() == 2
    api, _ = rest(error("NOT_FOUND", 404))
    with pytest.raises(RequestRejected):
        api.describe("Nothing__c")


@pytest.mark.parametrize("status", [302, 308, 404])
def test_an_instance_that_has_moved_is_asked_for_anew(status: int) -> None:
    """The org's My Domain was changed: signing in again tells where it is now."""
    api, wire = rest((status, "<html>moved</html>"), (200, [{"id": "1", "success": True, "errors": []}]))
    old, new = (f"https://{name}.my.salesforce.com" for name in ("acme", "acme-new"))
    wire.token_answer = lambda: (200, {**TOKEN, "instance_url": new if wire.sign_ins() > 1 else old})
    (result,) = api.update([{"Id": "001000000000001AAA"}])
    assert result.success
    assert [url.startswith(new) for _, url, _ in wire.asked if "composite" in url] == [False, True]


@pytest.mark.parametrize("status", [400, 413, 414, 431])
def test_a_request_that_is_bad_or_too_large_is_its_own_fault(status: int) -> None:
    """It would be answered so for ever; who sent it looks for the record at fault."""
    api, _ = rest((status, "<html>no</html>"))
    with pytest.raises(RequestRejected):
        api.update([{"Id": "001000000000001AAA"}])
