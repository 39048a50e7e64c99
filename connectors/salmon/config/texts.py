"""
Checks the texts of a configuration: no control characters, and no user names or passwords inside an address.

Secret settings are not checked: they are hidden wherever the configuration is shown. A key or a certificate as PEM text has several
lines wherever it is, also in the settings of a further side. An address is shown, so a password in it would be shown too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from salmon.addresses import is_broker
from salmon.kafka.properties import BROKERS

SECRET_PROPERTY: Final = re.compile(
    # What is misspelt is hidden, too: librdkafka refuses it only when a process starts.
    r"pas+w|passphrase|pwd|secret|credential|token$|key$|\.pem$|sasl\.oauthbearer\.(config|assertion\.private)|sasl\.jaas",
    re.IGNORECASE,
)
_SECRETS: Final = frozenset(
    {
        ("mongodb", "uri"),
        ("schema_registry", "password"),
        ("rest", "auth", "password"),
        ("rest", "auth", "token"),
        ("salesforce", "auth", "client_secret"),
        ("salesforce", "auth", "private_key"),
        ("salesforce", "auth", "refresh_token"),
        ("salesforce", "auth", "password"),
        ("salesforce", "auth", "security_token"),
        ("salesforce", "proxy", "password"),
    }
)
_USER_IN_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/*[^\s/?#]*@|//[^\s/?#]*@")
_SECRET_IN_QUERY: Final = re.compile(
    r"[?&#;][^=&;\s]*(token|secret|passw|pwd|key|auth|sig|credential)[^=&;\s]*=", re.IGNORECASE
)
# Of a further side's own settings we know only the names; its model hides those that are secret.
_SECRET_NAME: Final = re.compile(r"password|secret|token|private_?key|credential", re.IGNORECASE)
_PEM: Final = re.compile(
    r"\s*(-----BEGIN [A-Z0-9 ]+-----\r?\n[A-Za-z0-9+/=:,\- \r\n]*-----END [A-Z0-9 ]+-----\s*)+"
)
Path = tuple[str, ...]


def faults_of_texts(node: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Each fault as the path of its key and a sentence, which quotes nothing."""
    if isinstance(node, dict):
        for key, value in node.items():
            name = str(key)
            if not name.isprintable():
                yield path, f"has a key with a control character in it ({ascii(name)[1:-1]}). Remove it."
            yield from faults_of_texts(value, (*path, name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from faults_of_texts(value, (*path, str(index)))
    elif isinstance(node, str) and not _is_secret(path) and not _PEM.fullmatch(node):
        yield from ((path, sentence) for sentence in _faults(node, path))


def _is_secret(path: Path) -> bool:
    return (
        path in _SECRETS
        or path[-2:] == ("mask", "key")
        or (path[:1] == ("sides",) and _SECRET_NAME.search(path[-1]) is not None)
        or (path[:1] == ("kafka",) and SECRET_PROPERTY.search(path[-1]) is not None)
    )


def _faults(text: str, path: Path) -> Iterator[str]:
    if not text.isprintable():
        yield "contains a control character or another invisible character. Remove it."
    elif path[:1] == ("kafka",) and path[-1] in BROKERS:
        brokers = [each.strip() for each in text.split(",") if each.strip()]
        if (not brokers and text) or not all(is_broker(each) for each in brokers):
            yield (
                "must be HOST:PORT of one broker or more, separated by commas. Give the user and password as "
                "sasl.username and sasl.password."
            )
    elif "://" in text and (_USER_IN_ADDRESS.search(text) or _SECRET_IN_QUERY.search(text)):
        yield (
            "is an address that contains a user, a password or a token, which would be shown in logs and errors. Remove "
            "it, and use the settings for signing in."
        )
