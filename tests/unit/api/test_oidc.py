"""Tokens of an identity provider: only what it has signed, for us, and in time."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from salmon.api.access import Access
from salmon.api.keeping import READ_AGAIN_S
from salmon.api.oidc import NotGood, Provider
from salmon.config.sections.api import OidcConfig
from salmon.errors import Unavailable
from support.at_hand.api_room import api_of, client_of, echo

ISSUER = "https://login.acme.example"
SETTINGS = OidcConfig(issuer=ISSUER, audience="salmon", keys_kept_s=100)
OURS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHERS = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk_of(key: Any, kid: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**found, "kid": kid, "alg": "RS256", "use": "sig"}


def token(key: Any = OURS, kid: str = "1", algorithm: str = "RS256", **claims: Any) -> str:
    said = {
        "iss": ISSUER,
        "aud": "salmon",
        "sub": "u1",
        "exp": time.time() + 60,
        "scope": "Account:read",
        **claims,
    }
    return jwt.encode({n: v for n, v in said.items() if v is not None}, key, algorithm, headers={"kid": kid})


class Web:
    """The provider's addresses."""

    def __init__(self) -> None:
        self.keys = [jwk_of(OURS, "1")]
        self.asked: list[str] = []
        self.away = False
        self.says_it_is, self.keys_at = ISSUER, f"{ISSUER}/keys"
        self.now = 0.0

    def fetch(self, address: str) -> Any:
        self.asked.append(address)
        if self.away:
            raise Unavailable("It does not answer.")
        if address.endswith("/.well-known/openid-configuration"):
            return {"issuer": self.says_it_is, "jwks_uri": self.keys_at}
        return {"keys": self.keys}

    def provider(self) -> Provider:
        return Provider(SETTINGS, self.fetch, clock=lambda: self.now)


def test_a_good_token_names_its_user_and_what_it_allows() -> None:
    """Words that are scopes count by themselves, others by `grants`; the rest allows nothing."""
    provider = Web().provider()
    found = provider.caller_of(token(scope="Account:read sales openid"), {"sales": ["Contact:*", "viewer"]})
    assert found.name == "oidc:u1"
    assert found.may("read", "Account")
    assert found.may("delete", "Contact")
    assert found.views
    assert not found.may("read", "Lead")
    assert provider.caller_of(token(scope=["Lead:read"]), {}).may("read", "Lead"), "a list of words"


def test_a_group_that_is_called_like_a_role_is_none() -> None:
    """`operator` in a claim of the provider's opens no console, unless the file grants it."""
    provider = Web().provider()
    assert not provider.caller_of(token(scope="operator"), {}).operates
    assert provider.caller_of(token(scope="operator"), {"operator": ["operator"]}).operates


@pytest.mark.parametrize(
    "differs", [{"says_it_is": "https://another.example"}, {"keys_at": "http://login.example/keys"}]
)
def test_keys_are_taken_only_from_the_provider_and_not_in_the_clear(differs: dict[str, str]) -> None:
    """Who is on the way could give keys of his own, and sign what he likes."""
    web = Web()
    for name, value in differs.items():
        setattr(web, name, value)
    with pytest.raises(Unavailable, match="keys"):
        web.provider().caller_of(token(), {})


@pytest.mark.parametrize("name", ["issuer", "jwks_url"])
def test_a_provider_in_the_clear_is_refused(name: str) -> None:
    """But on this machine it may be tried out."""
    settings = {"issuer": ISSUER, "audience": "salmon"}
    with pytest.raises(ValidationError, match="https://"):
        OidcConfig(**{**settings, name: "http://login.example"})
    assert OidcConfig(**{**settings, name: "http://127.0.0.1:8080"})


@pytest.mark.parametrize(
    "said",
    [
        token(exp=time.time() - 3600),
        token(nbf=time.time() + 3600),
        token(aud="other"),
        token(iss="https://evil.example"),
        token(key=OTHERS),
        token(kid="unknown"),
        token(sub=None),
        token(exp=None),
        token(key="a secret that is long enough for HS256 to be used with it", algorithm="HS256"),
        jwt.encode({"iss": ISSUER, "aud": "salmon", "sub": "u1"}, None, "none"),  # type: ignore[arg-type]
        "not.a.token",
        "",
    ],
    ids=[
        "expired",
        "too early",
        "audience",
        "issuer",
        "signature",
        "key id",
        "no sub",
        "no exp",
        "secret",
        "none",
        "text",
        "empty",
    ],
)
def test_what_is_not_good_is_refused_without_being_quoted(said: str) -> None:
    """And with the reason."""
    with pytest.raises(NotGood) as refused:
        Web().provider().caller_of(said, {})
    assert not said or said not in str(refused.value)


def test_the_keys_are_kept_and_fetched_again_when_the_provider_has_new_ones() -> None:
    """A key that it has rotated in is found at once, but nobody can make us ask at will."""
    web = Web()
    provider = web.provider()
    for _ in range(5):
        provider.caller_of(token(), {})
    assert len(web.asked) == 2, "the configuration and the keys, once"
    web.keys.append(jwk_of(OTHERS, "2"))
    web.now += READ_AGAIN_S + 1
    provider.caller_of(token(key=OTHERS, kid="2"), {})
    asked = len(web.asked)
    for _ in range(20):
        with pytest.raises(NotGood):
            provider.caller_of(token(kid="made up"), {})
    assert len(web.asked) == asked


def test_while_the_provider_is_away_known_keys_count() -> None:
    """An unknown one cannot be judged: that is an outage, and no refusal."""
    web = Web()
    provider = web.provider()
    provider.caller_of(token(), {})
    web.away, web.now = True, 200.0
    assert provider.caller_of(token(), {}).name == "oidc:u1"
    fresh = Web()
    fresh.away = True
    with pytest.raises(Unavailable):
        fresh.provider().caller_of(token(), {})


def test_a_token_is_a_bearer_token_of_the_api() -> None:
    """401 with the reason, or let in; 503 while the provider is away."""
    web = Web()

    def access(said: Any) -> Access:
        return Access(said, provider=web.provider())

    api = api_of("Account", access=access, oidc={"issuer": ISSUER, "audience": "salmon"})
    client = client_of(api, echo)
    assert client.get("/who", headers={"Authorization": f"Bearer {token()}"}).json() == "oidc:u1"
    assert client.post("/write", headers={"Authorization": f"Bearer {token()}"}).status_code == 403
    late = client.get("/who", headers={"Authorization": f"Bearer {token(exp=1)}"})
    assert (late.status_code, "it has expired" in late.json()["detail"]) == (401, True)
    web.away, web.now = True, 1_000.0
    unknown = client.get("/who", headers={"Authorization": f"Bearer {token(kid='9')}"})
    assert unknown.status_code == 503


def test_garbage_does_not_make_us_ask_a_provider_that_is_away() -> None:
    """Not even with a key id that nobody knows; and the address that sends it has to wait, as with any other guess."""
    web = Web()
    web.away = True

    def access(said: Any) -> Access:
        return Access(said, provider=web.provider())

    client = client_of(
        api_of("Account", access=access, oidc={"issuer": ISSUER, "audience": "salmon"}),
        echo,
    )
    statuses = [
        client.get("/who", headers={"Authorization": f"Bearer {token(kid=str(n))}"}).status_code
        for n in range(30)
    ]
    assert len(web.asked) == 1
    assert set(statuses) == {503, 429}
