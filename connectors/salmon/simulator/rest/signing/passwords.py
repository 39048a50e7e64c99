"""sObject User Password (REST API Developer Guide): whether a password has expired, a new one, and one that the org makes."""

from __future__ import annotations

import secrets

from salmon.simulator.org.refusals import BadRequest, Refusal, not_found
from salmon.simulator.org.sessions import User
from salmon.simulator.rest.web import Answer, Call

LENGTH_MIN = 8  # the password policy of a new org, which also wants letters and digits


def password(call: Call, user_id: str) -> Answer:
    """GET, POST and DELETE /sobjects/User/id/password; nobody but the integration user may change that of others"""
    user = _user(call, user_id)
    if call.user.user_id not in {user.user_id, call.org.integration_user.user_id}:
        raise BadRequest("INSUFFICIENT_ACCESS", "You do not have permission to view this record.", status=403)
    if call.method == "GET":
        return Answer(200, {"isExpired": False})
    if call.method == "DELETE":
        made = f"{secrets.token_hex(4)}A1"
        call.org.passwords[user.user_id] = made
        return Answer(200, {"NewPassword": made})
    wanted = call.json_object().get("NewPassword")
    if not isinstance(wanted, str):
        raise BadRequest("JSON_PARSER_ERROR", "The property 'NewPassword' must be a text.")
    if len(wanted) < LENGTH_MIN:
        what = f"Your password must be at least {LENGTH_MIN} characters long."
        raise Refusal("INVALID_NEW_PASSWORD", what)
    if wanted.isalpha() or wanted.isdigit():
        raise Refusal("INVALID_NEW_PASSWORD", "Your password must have a mix of letters and numbers.")
    call.org.passwords[user.user_id] = wanted
    return Answer(204)


def _user(call: Call, user_id: str) -> User:
    """The user of an id in either form. Raises BadRequest (404)."""
    found = next(
        (user for user in call.org.users.values() if user_id in {user.user_id, user.user_id[:15]}), None
    )
    if found is None:
        raise not_found()
    return found
