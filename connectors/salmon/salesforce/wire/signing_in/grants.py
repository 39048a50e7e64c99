"""
What each way of signing in sends to the token endpoint, for whom an assertion is, and which ways end, and when.

Sources: Salesforce Help, "OAuth Authorization Flows" (JWT Bearer, Client Credentials, Refresh Token, Username-Password), "Block
Authorization Flows to Improve Security"; release notes, "SOAP API login() Retirement".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from salmon.errors import ConfigError
from salmon.salesforce.config import Auth, Flow

PUBLIC_LOGINS: Final = ("https://login.salesforce.com", "https://test.salesforce.com")
# Salesforce takes none that is good for longer than three minutes by its own clock. So ours may be a minute fast.
ASSERTION_LIFE_S: Final = 120
_MY_DOMAIN: Final = ".my.salesforce.com"
_OF_SANDBOXES: Final = (".sandbox", ".scratch")

_INSTEAD: Final = "Change salesforce.auth.flow to jwt_bearer or client_credentials"
# Until when a flow works, for those that end or may be off; each with what to do.
ENDINGS: Final[Mapping[Flow, tuple[str, str]]] = {
    "username_password": (
        "Salesforce has named no day on which username_password ends. Orgs made since Summer '23 block it, External Client"
        " Apps do not have it, and an administrator can block it any day",
        _INSTEAD,
    ),
    "soap_login": (
        "Salesforce ends soap_login on 2027-06-01 (Summer '27). Orgs made since Winter '26 have it switched off, and since"
        " Summer '26 the user needs the permission Use Any API Auth",
        _INSTEAD,
    ),
}


def form_of(auth: Auth, audience: str, now_s: float) -> dict[str, str]:
    """
    The form that asks the token endpoint for a token, by any flow but soap_login.

    Args:
        audience: Whom a JWT is for.
        now_s: The time by which a JWT ends.

    Raises:
        ConfigError: the private key is none.
    """
    app = {"client_id": auth.client_id or ""}
    if auth.client_secret is not None:
        app["client_secret"] = auth.client_secret.get_secret_value()
    match auth.flow:
        case "client_credentials":
            return {"grant_type": "client_credentials", **app}
        case "refresh_token":
            assert auth.refresh_token is not None, "the config checks it"
            return {
                "grant_type": "refresh_token",
                "refresh_token": auth.refresh_token.get_secret_value(),
                **app,
            }
        case "username_password":
            return {
                "grant_type": "password",
                "username": auth.username or "",
                "password": password_of(auth),
                **app,
            }
        case "jwt_bearer":
            import jwt  # with cryptography, which the other flows do not need

            claims = {
                "iss": auth.client_id,
                "sub": auth.username,
                "aud": audience,
                "exp": int(now_s) + ASSERTION_LIFE_S,
            }
            return {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": jwt.encode(claims, _private_key(auth), algorithm="RS256"),
            }
        case "soap_login":
            raise AssertionError("soap_login has no form")


def password_of(auth: Auth) -> str:
    """What Salesforce takes for the password: the security token comes right after it, where one is needed."""
    parts = (auth.password, auth.security_token)
    return "".join(part.get_secret_value() for part in parts if part is not None)


def audiences(login_url: str) -> Sequence[str]:
    """
    Whom an assertion may be for, the likeliest first: the login host; behind a My Domain, one of the two public ones.

    A sandbox is told by its name, if it has enhanced domains. Others are not told by any name: the Salesforce CLI tries both, too.
    """
    host = urlsplit(login_url).hostname or ""
    if not host.endswith(_MY_DOMAIN):
        return (login_url,)
    name = host.removesuffix(_MY_DOMAIN)
    is_sandbox = name.endswith(_OF_SANDBOXES) or "--" in name
    return tuple(reversed(PUBLIC_LOGINS)) if is_sandbox else PUBLIC_LOGINS


def _private_key(auth: Auth) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    assert auth.private_key is not None, "the config checks it"
    try:
        return load_pem_private_key(auth.private_key.get_secret_value().encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "salesforce.auth.private_key: this is not a PEM private key without a passphrase. Give the text of the"
            ' key file, e.g. "${file:/run/secrets/salesforce.key}".'
        ) from error
