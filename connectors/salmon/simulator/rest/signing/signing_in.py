"""Where clients sign in and out, and ask who they are: /services/oauth2, /services/Soap and /id, by path and method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest, not_found
from salmon.simulator.rest.signing.identity import Identities
from salmon.simulator.rest.signing.oauth import TokenEndpoint
from salmon.simulator.rest.web import Answer, Asked
from salmon.simulator.soap.partner import PartnerApi

Entry = Callable[[], Answer]


class SigningIn:
    """All that may be asked without a session, or about one."""

    def __init__(self, org: Org, tokens: TokenEndpoint) -> None:
        self._org = org
        self._tokens = tokens
        self._identities = Identities(org)
        self._soap = PartnerApi(org)

    def answer(self, asked: Asked) -> Answer | None:
        """The answer, or None for a path that is not about signing in. Raises BadRequest for one that is nowhere."""
        allowed: Mapping[str, Entry]
        match asked.path:
            case ["services", "oauth2", "token"]:
                self._org.usage.count_login()
                allowed = {"POST": lambda: self._tokens.token(_form(asked), asked.headers)}
            case ["services", "oauth2", "authorize"]:
                allowed = {"GET": lambda: self._tokens.authorize(asked.params)}
            case ["services", "oauth2", "revoke"]:
                allowed = dict.fromkeys(
                    ["GET", "POST"], lambda: self._tokens.revoke({**asked.params, **_form(asked)})
                )
            case ["services", "oauth2", "introspect"]:
                allowed = {"POST": lambda: self._tokens.introspect(_form(asked), asked.headers)}
            case ["services", "oauth2", "userinfo"]:
                allowed = dict.fromkeys(["GET", "POST"], lambda: self._identities.userinfo(asked))
            case ["id", org_id, user_id]:
                allowed = dict.fromkeys(
                    ["GET", "POST"], lambda: self._identities.identity(asked, org_id, user_id)
                )
            case ["services", "Soap", "u" | "c", version, *_]:
                allowed = {"POST": lambda: self._soap.answer(version, asked)}
            case ["services", "oauth2" | "Soap", *_] | ["id", *_]:
                raise not_found()
            case _:
                return None
        if (entry := allowed.get(asked.method)) is None and asked.path[-1] == "token":
            error = {"error": "invalid_request", "error_description": "must use HTTP POST"}
            return Answer(400, error)
        if entry is None:
            message = f"HTTP Method '{asked.method}' not allowed. Allowed are {','.join(allowed)}"
            raise BadRequest("METHOD_NOT_ALLOWED", message, status=405)
        return entry()


def _form(asked: Asked) -> dict[str, str]:
    return dict(parse_qsl(asked.body.decode("utf-8", "replace")))
