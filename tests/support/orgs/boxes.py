"""A running simulator for tests, and plain HTTP to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from salmon.salesforce.config import SalesforceConfig
from salmon.simulator.server import Simulator

RECORDED = Path(__file__).parents[2] / "data" / "salesforce" / "rest"  # answers of real orgs
VERSION = "64.0"


def recorded(name: str) -> Any:
    """A recorded answer, or request and answer."""
    return json.loads((RECORDED / f"{name}.json").read_text("utf-8"))


def trusting_session(simulator: Simulator) -> requests.Session:
    """A session that trusts the box's CA and nothing else, whatever this machine's environment says."""
    session = requests.Session()
    session.verify = simulator.endpoints.ca_file
    session.trust_env = False
    return session


class Diverted(HTTPAdapter):
    """
    Sends requests for <anything>.salesforce.com to the box, as a hosts file would, and still checks the certificate
    for the name that was asked for.
    """

    def __init__(self, simulator: Simulator, name: str) -> None:
        self._base = simulator.endpoints.instance_url
        self._name = name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, assert_hostname=self._name, server_hostname=self._name)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        assert request.url is not None
        request.headers["Host"] = self._name
        request.url = request.url.replace(f"https://{self._name}", self._base, 1)
        return super().send(request, **kwargs)


class Box:
    """A simulator and a session of one of its users."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.org = simulator.org
        self.http = trusting_session(simulator)
        self.as_user("integration")

    def as_user(self, role: str) -> None:
        """Log in as the integration user or as the person, by client credentials."""
        told = self.simulator.endpoints
        pair = (told.client_id, told.client_secret)
        if role == "person":
            pair = (told.person_client_id, told.person_client_secret)
        answer = self.http.post(
            f"{told.login_url}/services/oauth2/token", {"grant_type": "client_credentials"}, auth=pair
        )
        assert answer.status_code == 200, answer.text
        self.token = str(answer.json()["access_token"])
        self.http.headers["Authorization"] = f"Bearer {self.token}"

    def config(self, **more: Any) -> SalesforceConfig:
        """How Salmon is to reach the box, as the integration user."""
        told = self.simulator.endpoints
        auth = {
            "flow": "client_credentials",
            "client_id": told.client_id,
            "client_secret": told.client_secret,
        }
        keys = {"login_url": told.login_url, "auth": auth, "ca_file": str(told.ca_file)}
        return SalesforceConfig.model_validate({**keys, **more})

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        """One REST call; *path* is below the version unless it begins with a slash."""
        url = path if path.startswith("/") else f"/services/data/v{VERSION}/{path}"
        return self.http.request(method, self.simulator.endpoints.instance_url + url, json=body, **more)

    def create(self, object_name: str, **fields: Any) -> str:
        """A new record by the row API; its id."""
        answer = self.call("POST", f"sobjects/{object_name}", fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def control(self, method: str, path: str, body: Any = None) -> requests.Response:
        """One call of the control API."""
        return self.http.request(method, self.simulator.endpoints.control_url + path, json=body)


def same_shape(mine: Any, real: Any) -> bool:
    """Whether two JSON values have the same names and types all the way down; lists go by their first items."""
    if isinstance(real, dict):
        return (
            isinstance(mine, dict)
            and set(mine) == set(real)
            and all(same_shape(mine[key], real[key]) for key in real)
        )
    if isinstance(real, list):
        return isinstance(mine, list) and (not real or not mine or same_shape(mine[0], real[0]))
    if real is None or mine is None:
        return True
    return type(mine) is type(real)
