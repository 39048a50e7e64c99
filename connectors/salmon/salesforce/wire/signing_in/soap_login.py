"""
Signing in by the SOAP API's login(), with its answer in the words of a token response.

It ends on 2027-06-01 and exists up to version 64.0 of the API, whichever version the rest of Salmon uses.
Sources: SOAP API Developer Guide, "login()", "LoginResult", "API Fault Element"; release notes, "SOAP API login() Retirement".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from salmon.salesforce.config import Auth
from salmon.salesforce.ids import id18
from salmon.salesforce.wire.signing_in.grants import password_of

VERSION_MAX: Final = 64.0
HEADERS: Final = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login", "Accept": "text/xml"}
PASSWORD_EXPIRED: Final = (
    "PASSWORD_EXPIRED"  # not a code of login(), which lets such a user in for nothing but a new password
)
# Instances had a second name for the API once; REST is at the first.
_API_NAME: Final = re.compile(r"([a-z]{2,3}\d+)-api\.salesforce\.com")
_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com">'
    "<env:Header><urn:CallOptions><urn:client>Salmon</urn:client></urn:CallOptions></env:Header>"
    "<env:Body><urn:login><urn:username>{username}</urn:username><urn:password>{password}</urn:password></urn:login></env:Body>"
    "</env:Envelope>"
)


def path_of(api_version: str) -> str:
    """Where login() is."""
    return f"/services/Soap/u/{min(float(api_version), VERSION_MAX):.1f}"


def envelope_of(auth: Auth) -> bytes:
    """The call."""
    return _ENVELOPE.format(username=escape(auth.username or ""), password=escape(password_of(auth))).encode()


def body_of(content: bytes) -> Mapping[str, Any]:
    """
    The answer, as the token endpoint would have given it: access_token, instance_url, id and, in seconds, `lives_s`; or
    error and error_description. Without any of these for what is not an answer of login().
    """
    try:
        texts = {
            each.tag.rpartition("}")[2]: each.text or "" for each in ElementTree.fromstring(content).iter()
        }
    except (ElementTree.ParseError, ValueError):
        return {}
    if code := texts.get("exceptionCode"):
        return {"error": code, "error_description": texts.get("exceptionMessage", "")}
    if texts.get("passwordExpired") == "true":
        return {"error": PASSWORD_EXPIRED, "error_description": "the password has expired"}
    server = urlsplit(texts.get("serverUrl", ""))
    org_id, user_id = (id18(texts.get(name, "")) for name in ("organizationId", "userId"))
    if server.scheme != "https" or not texts.get("sessionId") or org_id is None or user_id is None:
        return {}
    found = _API_NAME.fullmatch(server.netloc)
    lives = texts.get("sessionSecondsValid", "")
    return {
        "access_token": texts["sessionId"],
        "instance_url": f"https://{server.netloc if found is None else f'{found[1]}.salesforce.com'}",
        "id": f"https://{server.netloc}/id/{org_id}/{user_id}",
        "lives_s": float(lives) if lives.isdecimal() else None,
    }
