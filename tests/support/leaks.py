"""
Looks for what no output of a process may have: secrets, tokens, and values of records.

support.ring searches what its processes wrote, debug lines included, when a ring ends. So each test on real processes is also a test
of this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

_SECRETS: Final = ("client_secret", "password", "security_token", "person_client_secret")
_KEY_LINE_MIN: Final = 40
# What signs somebody in: a session of the org, a refresh token, a JWT.
_TOKEN: Final = re.compile(r"00D\w{12,15}!\S{20}|5Aep861\S{20}|eyJ[\w-]{10,}\.[\w-]{10,}")
# Values that are in no log by chance: addresses of people, and their phones.
_EMAIL: Final = re.compile(r"\S+@\S+\.\S+")
_PHONE: Final = re.compile(r"\+?[\d() -]{9,}")
_ADDRESS_MAX: Final = 254  # a whole text area is no address, and a search in it takes minutes


def secrets_of(org: Mapping[str, str]) -> set[str]:
    """The secrets among an org's endpoints, the lines of its private key among them."""
    found = {org[name] for name in _SECRETS}
    key = Path(org["private_key"]).read_text()
    return found | {line for line in key.splitlines() if len(line) >= _KEY_LINE_MIN}


def values_of(documents: Iterable[Mapping[str, Any]]) -> set[str]:
    """Values by which a document can be recognized."""
    texts = ((name, value) for each in documents for name, value in each.items() if isinstance(value, str))
    return {
        value
        for name, value in texts
        if name != "_id" and len(value) <= _ADDRESS_MAX and (_EMAIL.search(value) or _PHONE.fullmatch(value))
    }


def leaks(text: str, planted: Collection[str]) -> list[str]:
    """The lines of *text* with a token or one of *planted*, in any form that logs write; not the leak itself."""
    forms = {form for each in planted for form in (each, json.dumps(each)[1:-1], quote(each, safe=""))}
    # One look at the whole text: it is long, and there is nothing to be found in it.
    pattern = re.compile("|".join([*map(re.escape, sorted(forms, key=len, reverse=True)), _TOKEN.pattern]))
    return [pattern.sub("<LEAK>", line) for line in text.splitlines() if pattern.search(line)]


def none_in(files: Iterable[Path], planted: Collection[str]) -> None:
    """Fail if one of these files has what no output may have."""
    found = {
        file.name: lines[:5] for file in files if (lines := leaks(file.read_text(errors="replace"), planted))
    }
    if found:
        raise AssertionError(f"secrets or values of records leaked: {found}")
