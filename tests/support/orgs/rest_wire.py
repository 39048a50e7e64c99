"""Https, as far as Rest and SignIn use it, with answers made by a test."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

import requests

DATE = "Sun, 09 Sep 2001 01:46:40 GMT"
DATE_S = 1_000_000_000
TOKEN = {
    "access_token": "00D!1",
    "instance_url": "https://acme.my.salesforce.com",
    "id": "https://login.salesforce.com/id/00D000000000001AAA/005000000000001AAA",
}
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class Wire:
    """Https, as far as Rest and SignIn use it: answers in the order given, and what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = deque(answers)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.token_number = 0
        self.token_answer: Callable[[], Answer] = self._new_token

    def send(self, method: str, url: str, *, key: str, **request: Any) -> requests.Response:
        assert key
        self.asked.append((method, url, request))
        status, body, *more = self.token_answer() if url.endswith("/oauth2/token") else self.answers.popleft()
        response = requests.Response()
        response.status_code = status
        response.headers.update({"Date": DATE, **(more[0] if more else {})})
        response._content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return response

    def _new_token(self) -> Answer:
        self.token_number += 1
        return 200, {**TOKEN, "access_token": f"00D!{self.token_number}"}

    def sign_ins(self) -> int:
        return sum(url.endswith("/oauth2/token") for _, url, _ in self.asked)
