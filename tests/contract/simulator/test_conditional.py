"""The simulator's conditional requests: ETag, Last-Modified, 304 and 412."""

from __future__ import annotations

import pytest

from support.orgs.boxes import VERSION, Box

PAST, FUTURE = "Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


def test_an_account_has_an_etag_and_is_not_sent_twice(box: Box) -> None:
    """If-None-Match: 304 while nothing has changed, whatever the fields; it goes before a date."""
    path = f"sobjects/Account/{box.create('Account', Name='A')}"
    first = box.call("GET", path)
    etag = first.headers["ETag"]
    assert etag.startswith('"')
    assert first.headers["Last-Modified"].endswith(" GMT")
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"other", {etag[:-1]}-gzip"'}, 304),
        ({"If-None-Match": '"other"', "If-Modified-Since": FUTURE}, 200),
        ({"If-Modified-Since": FUTURE}, 304),
        ({"If-Modified-Since": PAST}, 200),
        ({"If-Unmodified-Since": PAST}, 412),
        ({"If-Match": etag}, 200),
        ({"If-Match": '"other"'}, 412),
    ):
        assert box.call("GET", f"{path}?fields=Name", headers=headers).status_code == status, headers
    box.call("PATCH", path, {"Phone": "1"})
    assert box.call("GET", path, headers={"If-None-Match": etag}).status_code == 200


def test_a_write_may_be_made_to_depend_on_the_etag(box: Box) -> None:
    """If-Match: 412, with a list of errors, once somebody else has written."""
    path = f"sobjects/Account/{box.create('Account', Name='A')}"
    etag = box.call("GET", path).headers["ETag"]
    assert box.call("PATCH", path, {"Phone": "1"}, headers={"If-Match": etag}).status_code == 204
    refused = box.call("PATCH", path, {"Phone": "2"}, headers={"If-Match": etag})
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (412, "PRECONDITION_FAILED")
    assert box.call("GET", path).json()["Phone"] == "1"


def test_only_accounts_have_one(box: Box) -> None:
    """A contact has no ETag, and If-Match is not for it; dates are."""
    path = f"sobjects/Contact/{box.create('Contact', LastName='C')}"
    answer = box.call("GET", path, headers={"If-Match": '"other"'})
    assert (answer.status_code, "ETag" in answer.headers) == (200, False)
    assert box.call("GET", path, headers={"If-Modified-Since": FUTURE}).status_code == 304
    item = {"method": "GET", "url": f"/services/data/v{VERSION}/{path}", "referenceId": "c"}
    [inner] = box.call("POST", "composite", {"compositeRequest": [item]}).json()["compositeResponse"]
    assert inner["httpHeaders"] == {}


@pytest.mark.parametrize("path", ["sobjects", "sobjects/Account/describe"])
def test_descriptions_have_both(box: Box, path: str) -> None:
    """And are answered with 304 by either."""
    headers = box.call("GET", path).headers
    for condition in (
        {"If-None-Match": headers["ETag"]},
        {"If-Modified-Since": headers["Last-Modified"]},
    ):
        again = box.call("GET", path, headers=condition)
        assert (again.status_code, again.content) == (304, b"")
