"""
Fixtures for pytest: a simulated Salesforce org in the tests of any project that has this package installed.

`salmon_org` is an org of a test's own, `salmon_shared_org` one for the whole session. What is in them is said by overriding
`salmon_org_options`. pytest finds this module by its entry point, and nothing else here needs pytest; the org is imported
only where a test asks for it. README.md in this folder shows a whole example.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from salmon.simulator.org.org import Org
    from salmon.simulator.server import Endpoints, Simulator

# Options of Simulator.start that a project may set; the others are the fixtures' own.
_OPTIONS = (
    "describe_folder",
    "objects",
    "records",
    "random_seed",
    "marker_fields",
    "marker_names",
    "keepalive_s",
    "person_accounts",
)


class SalmonOrg:
    """A running org, as a test sees it."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    @property
    def endpoints(self) -> Endpoints:
        """Where the org is and how to sign in: login_url, client_id, username, pubsub_endpoint, ca_file and more."""
        return self._simulator.endpoints

    @property
    def org(self) -> Org:
        """The org itself, in this process: its records, users, clock and settings."""
        return self._simulator.org

    @property
    def trust(self) -> dict[str, str]:
        """Environment variables by which common clients trust the org's certificate: Python, gRPC, curl and Node."""
        names = (
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            "NODE_EXTRA_CA_CERTS",
        )
        return dict.fromkeys(names, self.endpoints.ca_file)

    def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """
        One call of the control API, and its answer; `control("GET", "/")` lists what there is.

        Raises:
            urllib.error.HTTPError: The org refuses it; the body says why.
        """
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoints.control_url + path, content, method=method)
        directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with directly.open(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def salmon_org_options() -> dict[str, Any]:
    """What is in the orgs: override it in conftest.py and return some of describe_folder, objects, records, random_seed ..."""
    return {}


@pytest.fixture
def salmon_org(
    salmon_org_options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SalmonOrg]:
    """A simulated Salesforce org for one test."""
    yield from _running(salmon_org_options, tmp_path_factory)


@pytest.fixture(scope="session")
def salmon_shared_org(
    salmon_org_options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SalmonOrg]:
    """A simulated Salesforce org for all tests of the session: quicker, and each test sees what the others did."""
    yield from _running(salmon_org_options, tmp_path_factory)


def _running(options: Mapping[str, Any], folders: pytest.TempPathFactory) -> Iterator[SalmonOrg]:
    from salmon.errors import SetupError
    from salmon.simulator.server import Simulator

    if unknown := [name for name in options if name not in _OPTIONS]:
        pytest.fail(
            f"salmon_org_options: unknown {', '.join(unknown)}; there are {', '.join(_OPTIONS)}",
            pytrace=False,
        )
    try:
        simulator = Simulator.start(folders.mktemp("salmon_org"), **options)
    except SetupError as error:
        pytest.fail(f"salmon_org: {error}", pytrace=False)
    with simulator:
        yield SalmonOrg(simulator)
