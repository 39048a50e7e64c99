"""
A small OpenID Connect provider, over HTTP: it describes itself, has keys, lets everybody sign in who comes with a browser, and checks
what a client sends as strictly as the specifications say (OpenID Connect Core 1.0, 3.1; RFC 7636).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "salmon console", "s3cret/of:the%console"


@dataclass
class OidcProvider:
    """What it knows, and what it is to do. *host*: how its address names this machine."""

    redirect_uri: str
    host: str = "localhost"
    groups: list[str] = field(default_factory=list)
    says: dict[str, Any] = field(default_factory=dict)  # claims in place of the right ones
    denies: str = ""  # an error that it answers with
    away: bool = False  # its token endpoint
    port: int = 0
    key: Any = field(default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://{self.host}:{self.port}"

    def description(self) -> dict[str, str]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def keys(self) -> dict[str, Any]:
        public: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": "1", "alg": "RS256", "use": "sig"}]}

    def authorized(self, asked: dict[str, str]) -> str:
        """Where the browser of a person who agrees is sent back to."""
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["redirect_uri"] == self.redirect_uri, "only what is registered"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        if self.denies:
            return f"{self.redirect_uri}?{urlencode({'error': self.denies, 'state': asked['state']})}"
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{self.redirect_uri}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchanged(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The answer to a code, which counts once."""
        asked = self.codes.pop(form.get("code", ""), None)
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        good = (
            asked is not None
            and (unquote(name), unquote(secret)) == (CLIENT_ID, CLIENT_SECRET)
            and form.get("grant_type") == "authorization_code"
            and form.get("redirect_uri") == self.redirect_uri
            and base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() == asked["code_challenge"]
        )
        if not good or asked is None:
            return 400, {"error": "invalid_grant"}
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "vera",
            "exp": time.time() + 300,
            "nonce": asked["nonce"],
            "groups": self.groups,
            **self.says,
        }
        token = jwt.encode(claims, self.key, "RS256", headers={"kid": "1"})
        return 200, {"id_token": token, "access_token": "opaque", "token_type": "Bearer"}


@contextmanager
def oidc_provider(redirect_uri: str, **what: Any) -> Iterator[OidcProvider]:
    """One that runs, on this machine alone."""
    provider = OidcProvider(redirect_uri, **what)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider))
    provider.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(provider: OidcProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            if path == "/.well-known/openid-configuration":
                self._json(200, provider.description())
            elif path == "/keys":
                self._json(200, provider.keys())
            else:
                self.send_response(303)
                self.send_header(
                    "Location", provider.authorized({name: each[0] for name, each in query.items()})
                )
                self.send_header("Content-Length", "0")
                self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: each[0] for name, each in parse_qs(body).items()}
            if provider.away:
                self._json(500, {})
            else:
                self._json(*provider.exchanged(form, self.headers.get("Authorization", "")))

        def _json(self, code: int, what: dict[str, Any]) -> None:
            data = json.dumps(what).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
