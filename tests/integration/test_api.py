"""The API beside a sync at work, each a real process: what was written through it, what Salesforce said, and what was streamed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml
from hypothesis import HealthCheck, given, settings, strategies

from salmon.ports import free_ports
from support.programs.certificates import Authority
from support.ring import Document, Ring, running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("embedded")]

SYNCED: Final = {"Prefer": "wait=synced"}
WORDS: Final = "Nothing is built in Rome: ask the head of rivers."


@dataclass
class Api:
    """The process, and what an application says to it."""

    ring: Ring
    url: str
    http: requests.Session

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.http.request(method, f"{self.url}/api/v1{path}", timeout=90, **more)

    def created(self, name: str, **fields: Any) -> Document:
        """A record that both sides have."""
        answer = self.ask("POST", f"/{name}", json=fields, headers=SYNCED)
        assert answer.status_code == 201, f"{answer.text}; {self.ring.healths()}"
        record: Document = answer.json()
        return record


@pytest.fixture(scope="module")
def api(embedded_stack: Stack) -> Iterator[Api]:
    """A sync whose five processes run, and the API's."""
    records = {"Account": 10, "Contact": 5, "Opportunity": 5}
    objects = {"Contact": {"on_reject": "revert"}}
    with running_ring(embedded_stack, "api", records=records, objects=objects) as ring:
        said = yaml.safe_load(ring.config_path.read_text())
        said["api"] = {"wait_max_s": 60}  # on a busy machine a first record takes its time
        ring.config_path.write_text(yaml.safe_dump(said))
        ring.start()
        ring.wait_equal()
        (port,) = free_ports(1)
        ring.ports["api"] = port
        ring.processes["api"] = ring.spawn("api", port)
        ring.wait_ready("api")
        found = Api(ring, f"http://127.0.0.1:{port}", ring.http)
        # The bound of a caller is not what these tests are about.
        until(lambda: found.ask("GET", "").status_code == 200, "the API serves")
        yield found
        assert ring.stop("api") == {"api": 0}, "SIGTERM drains, and ends in order"


def test_a_post_is_answered_when_salesforce_has_the_record(api: Api) -> None:
    """With its Id; and the org has the values by then."""
    record = api.created("Account", Name="Acme of the API", NumberOfEmployees=5, Industry="Energy")
    assert record["_sync"]["state"] == "in_step"
    row = api.ring.row("Account", record["Id"])
    assert (row["Name"], row["NumberOfEmployees"], row["Industry"]) == ("Acme of the API", 5, "Energy")
    again = api.ask("GET", f"/Account/{record['Id'][:15]}").json()
    assert again["_key"] == record["_key"]


def test_an_edit_and_a_deletion_are_answered_when_salesforce_has_them(api: Api) -> None:
    """PATCH with the fields alone, DELETE with nothing."""
    record = api.created("Account", Name="To be edited")
    edited = api.ask("PATCH", f"/Account/{record['Id']}", json={"Phone": "555 0101"}, headers=SYNCED)
    assert (edited.status_code, edited.headers["Preference-Applied"]) == (200, "wait=synced")
    assert api.ring.row("Account", record["Id"])["Phone"] == "555 0101"
    same = api.ask("PATCH", f"/Account/{record['Id']}", json={"Phone": "555 0101"}, headers=SYNCED)
    assert (same.status_code, same.json()["_sync"]["state"]) == (200, "in_step"), (
        "there was nothing to wait for"
    )
    assert api.ask("DELETE", f"/Account/{record['Id']}", headers=SYNCED).status_code == 204
    assert api.ring.wait_query(f"SELECT Id FROM Account WHERE Id = '{record['Id']}'", 0) == []


def test_a_refusal_has_the_orgs_own_code_field_and_words(api: Api) -> None:
    """Of a validation rule, whose text is for people. The record says so afterwards, too, until somebody corrects it; it keeps no words."""
    record = api.created("Account", Name="To be refused")
    rule = {"object": "Account", "when": "Site = 'Rome'", "message": WORDS, "field": "Site"}
    with api.ring.rule(**rule):
        refused = api.ask("PATCH", f"/Account/{record['Id']}", json={"Site": "Rome"}, headers=SYNCED)
        assert refused.status_code == 422, refused.text
        problem = refused.json()
        assert problem["code"] == "refused-by-salesforce"
        assert problem["errors"] == [
            {"field": "Site", "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "reason": WORDS}
        ]
        assert WORDS.rstrip(".") in problem["detail"]
        other = api.ask("PATCH", f"/Account/{record['Id']}", json={"Fax": "1"}, headers=SYNCED)
        assert (other.status_code, other.json()["_sync"]["state"]) == (200, "refused"), "the fax was not"
    shown = until(lambda: refused_now(api, record["Id"]), "the record says that it was refused")
    assert shown is not None
    assert "FIELD_CUSTOM_VALIDATION_EXCEPTION" in shown["reason"]
    assert WORDS not in shown["reason"]
    mended = api.ask("PATCH", f"/Account/{record['Id']}", json={"Site": None}, headers=SYNCED)
    assert (mended.status_code, mended.json()["_sync"]["state"]) == (200, "in_step")


def test_what_is_set_back_after_a_refusal_was_refused(api: Api) -> None:
    """With on_reject: revert both sides are in step again, with the old value: that is no yes."""
    record = api.created("Contact", LastName="To be set back")
    rule = {"object": "Contact", "when": "Title = 'Rome'", "message": WORDS, "field": "Title"}
    with api.ring.rule(**rule):
        refused = api.ask("PATCH", f"/Contact/{record['Id']}", json={"Title": "Rome"}, headers=SYNCED)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["reason"] == WORDS
    assert refused.json()["detail"].endswith("It was set back in MongoDB, as on_reject says.")
    assert api.ask("GET", f"/Contact/{record['Id']}").json()["Title"] is None


def refused_now(api: Api, native_id: str) -> dict[str, Any] | None:
    found: dict[str, Any] = api.ask("GET", f"/Account/{native_id}?select=Name").json()["_sync"]
    return found if found["state"] == "refused" and "reason" in found else None


def test_without_an_answer_of_salesforce_the_record_is_on_its_way(api: Api) -> None:
    """202 after the bound that the request has; later it is in step."""
    record = api.created("Account", Name="To be late")
    api.ring.stop("salesforce-sink")
    try:
        late = api.ask(
            "PATCH",
            f"/Account/{record['Id']}",
            json={"Fax": "1"},
            headers={"Prefer": "wait=synced; timeout=1"},
        )
        assert (late.status_code, late.json()["_sync"]["state"]) == (202, "on_its_way")
    finally:
        api.ring.start("salesforce-sink")
    until(
        lambda: api.ask("GET", f"/Account/{record['Id']}").json()["_sync"]["state"] == "in_step",
        "it is in step",
        within_s=60,
    )


def test_a_history_is_what_salmon_why_prints(api: Api) -> None:
    """The same code: entries, the present, and the sentence."""
    record = api.created("Account", Name="With a history")
    story = api.ask("GET", f"/Account/{record['Id']}/history").json()
    assert story["now"]["settled"]
    assert story["now"]["says"].endswith("is in sync: both sides have the agreed values.")
    assert [each["kind"] for each in story["story"]][:2] == ["edit", "write"]
    assert api.ask("GET", "/Account/001000000000000AAA/history").status_code == 404


def events_of(lines: Iterator[Any], count: int) -> list[dict[str, Any]]:
    """So many events of a stream, with data."""
    found: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    for line in lines:
        if line:
            name, _, text = line.partition(": ")
            event[name] = text
            continue
        if "data" in event:
            found.append({**event, "data": json.loads(event["data"])})
        event = {}
        if len(found) == count:
            break
    return found


def test_a_stream_goes_on_after_its_last_event(api: Api) -> None:
    """An edit in the org is an event; a client that comes back misses nothing of the meantime."""
    record = api.created("Account", Name="To be streamed")
    with api.ask("GET", "/changes?objects=Account", stream=True) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines(decode_unicode=True)
        first = next(line for line in lines if line.startswith("id: "))
        api.ring.sf.Account.update(record["Id"], {"Site": "Oslo"})
        seen = events_of(lines, 1)
    assert seen[0]["data"]["object"] == "Account"
    api.ring.sf.Account.update(record["Id"], {"Site": "Bergen"})
    api.ring.wait_document("accounts", key_of(api, record["Id"]), lambda d: d.get("Site") == "Bergen")
    headers = {"Last-Event-ID": first.removeprefix("id: ")}
    with api.ask("GET", "/changes", headers=headers, stream=True) as answer:
        (again,) = events_of(answer.iter_lines(decode_unicode=True), 1)
        assert again["data"]["key"] == record["_key"]
        assert again["data"]["record"]["Site"] in {"Oslo", "Bergen"}


def key_of(api: Api, native_id: str) -> Any:
    (found,) = api.ring.db.accounts.find({"_salmon.salesforce_id": native_id})
    return found["_id"]


TEXT: Final = strategies.text(
    strategies.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=("C", "Z")),
    min_size=1,
    max_size=40,
)
ACCOUNTS: Final = strategies.fixed_dictionaries(
    {"Name": TEXT},
    optional={
        "Site": TEXT,
        "Description": TEXT,
        "NumberOfEmployees": strategies.integers(0, 99_999_999),
        "AnnualRevenue": strategies.integers(0, 10**12),
        "Industry": strategies.sampled_from(["Energy", "Banking", "Media"]),
        "Rating": strategies.sampled_from(["Hot", "Warm", "Cold"]),
        "BillingCity": TEXT,
        "Phone": TEXT,
    },
)


@given(account=ACCOUNTS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_what_was_posted_reads_back_equal_on_both_sides(api: Api, account: dict[str, Any]) -> None:
    """For any values that the description allows: from MongoDB by the API, and from the org."""
    record = api.created("Account", **account)
    row = api.ring.row("Account", record["Id"])
    for name, value in account.items():
        assert record[name] == value
        assert row[name] == value


def test_the_process_is_as_its_description_says(api: Api) -> None:
    """Schemathesis, on every operation of every object: no other code, type or body, and never a server error."""
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.result import Ok
    from schemathesis.specs.openapi import checks

    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    wanted = [
        each for each in operations if each.path.startswith("/api/v1") and not each.path.endswith("/changes")
    ]
    assert len(wanted) > 20
    key = api.ring.ids("Contact")[0]
    failed: list[str] = []

    @given(data=strategies.data())
    @settings(
        max_examples=6,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def held_against(data: strategies.DataObject) -> None:
        for operation in wanted:
            case = data.draw(operation.as_strategy())
            if "key" in case.path_parameters and case.method != "DELETE" and data.draw(strategies.booleans()):
                case.path_parameters["key"] = key
            answer = case.call(session=api.http)
            if answer.status_code == 429:
                continue
            try:
                case.validate_response(
                    answer,
                    checks=[
                        not_a_server_error,
                        checks.status_code_conformance,
                        checks.content_type_conformance,
                        checks.response_schema_conformance,
                    ],
                )
            except Exception as error:  # noqa: BLE001 - all of them are shown
                failed.append(f"{operation.label}: {error}")

    held_against()
    assert failed == []


def test_its_page_comes_from_the_process_alone(api: Api) -> None:
    """No other server is named on it, and no script is within it."""
    page = api.http.get(f"{api.url}/docs", timeout=10)
    assert page.status_code == 200
    assert "http" not in page.text.replace("https://", "http").partition("<body>")[2]
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert api.http.get(f"{api.url}/docs/{name}", timeout=10).status_code == 200
    assert api.http.get(f"{api.url}/openapi.json", timeout=10).json()["openapi"].startswith("3.1")


def test_over_tls_the_api_is_reached_by_https_alone_and_status_lists_it(api: Api, tmp_path: Path) -> None:
    """A process with a certificate of its own CA: whoever does not know the CA, or speaks http, learns nothing."""
    authority = Authority(tmp_path)
    files = authority.gives()
    (port,) = free_ports(1)
    written = yaml.safe_load(api.ring.config_path.read_text(encoding="utf-8"))
    tls = {
        "certificate_file": files.certificate_file,
        "key_file": files.key_file,
        "ca_file": authority.ca_file,
    }
    config = tmp_path / "sync.yaml"
    config.write_text(yaml.safe_dump({**written, "api": {"port": port, "tls": tls}}), encoding="utf-8")
    ports = {
        name: {"url": f"http://127.0.0.1:{number}"}
        for name, number in api.ring.ports.items()
        if name != "api"
    }
    (tmp_path / "ports.json").write_text(json.dumps(ports), encoding="utf-8")
    log = (api.ring.folder / "api.log").open("ab")  # it is searched for leaks
    salmon = [sys.executable, "-m", "salmon"]
    with log, ended(subprocess.Popen([*salmon, "run", "api", "-c", str(config)], stdout=log, stderr=log)):
        url = f"https://127.0.0.1:{port}"

        def served() -> bool:
            try:
                return requests.get(f"{url}/api/v1/Account", verify=authority.ca_file, timeout=10).ok
            except requests.ConnectionError:
                return False

        until(served, "the API serves by https", within_s=180)
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{url}/api/v1", timeout=10)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/api/v1", timeout=10)
        status = subprocess.run(
            [*salmon, "status", "-c", str(config), "--json"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        seen = json.loads(status.stdout)["processes"]
        assert list(seen) == [*api.ring.config.roster.connectors, "api"]
        assert (seen["api"]["url"], seen["api"]["status"]) == (url, "healthy"), status.stderr


PAGE: Final = Path(__file__).parents[2] / "deploy" / "api.md"


def commands() -> list[str]:
    """The commands of the page, as they stand there."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for language, block in blocks if not language for line in block.splitlines()]


def test_the_commands_of_its_page_work_as_they_are_written(api: Api, tmp_path: Path) -> None:
    """In a shell, with the address alone changed: what the page tells people to type does what it says."""
    (port,) = free_ports(1)
    written = yaml.safe_load(api.ring.config_path.read_text(encoding="utf-8"))
    (tmp_path / "sync.yaml").write_text(yaml.safe_dump({**written, "api": {"port": port}}), encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell: dict[str, Any] = {"shell": True, "cwd": tmp_path, "env": {**os.environ, "PATH": path}}
    run, *others = commands()
    assert run.startswith("salmon run api ")
    with (api.ring.folder / "api.log").open("ab") as log:
        # exec: what is ended is the process itself
        process = subprocess.Popen(f"exec {run}", stdout=log, stderr=log, **shell)
        with ended(process):
            until(lambda: api.ring.health(port).get("status") == "healthy", "the API serves", within_s=180)
            said = {}
            for command in others:
                typed = command.replace("http://127.0.0.1:8090", f"http://127.0.0.1:{port}")
                typed = typed.replace("curl ", "curl --silent --fail-with-body --max-time 30 ")
                done = subprocess.run(typed, capture_output=True, text=True, timeout=60, check=False, **shell)
                assert done.returncode == 0, (command, done.stdout, done.stderr)
                said[command.split(" ")[0], "POST" in command] = done.stdout
    assert isinstance(json.loads(said["curl", False]), list)
    assert json.loads(said["curl", True])["_sync"]["state"] == "in_step", "it has waited for Salesforce"
    assert "sha256:" in said["salmon", False]
    assert len(said) == len(others) == 3, "all of them"


def test_what_its_page_writes_in_requests_is_understood(api: Api) -> None:
    """Each example of the table, of an opportunity; and the problem that it shows is the one that comes."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("| You want |")[2].partition("\n\n")[0]
    spans = re.findall(r"`([^`]+)`", table)
    examples = [each for each in spans if re.match(r"\w+=\(?\w", each) and not each.startswith("count=")]
    assert len(examples) == 4, examples
    for example in examples:
        answer = api.ask("GET", f"/Opportunity?{example}")
        assert answer.status_code == 200, (example, answer.text)
    for count in re.findall(r"count=\w+", table):
        answer = api.ask("GET", "/Opportunity", headers={"Prefer": count})
        assert answer.headers["Content-Range"] == f"items */{api.ring.db.opportunities.count_documents({})}"
    shown = json.loads(text.partition("```json\n")[2].partition("```")[0])
    assert api.ask("POST", "/Account", json={}).json() == shown


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends a process with the block."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
