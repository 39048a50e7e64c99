"""`salmon schemas register`, and then the processes with an account that may only read the registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
import yaml

from salmon.cli.main import main
from support.programs.helm import CHART
from support.ring import running_ring
from support.stacks import Stack
from support.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("e2e")]


@contextmanager
def reading_only(registry_url: str) -> Iterator[tuple[str, list[str]]]:
    """A registry's URL for an account that may not write; and the requests that it was refused."""
    refused: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = requests.get(registry_url + self.path, timeout=10)
            self.answer(found.status_code, found.content)

        def refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refused.append(f"{self.command} {self.path}")
            self.answer(403, b'{"error_code": 40301, "message": "read only"}')

        do_POST = do_PUT = do_DELETE = refuse  # noqa: N815 - the names http.server looks for

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", refused
    finally:
        server.shutdown()
        server.server_close()


def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, Any]]:
    """The exit code of `salmon schemas ...`, and its JSON."""
    monkeypatch.setattr("sys.argv", ["salmon", "schemas", *words, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


def test_processes_need_no_right_to_write_once_everything_is_registered(
    embedded_stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The hook of a deployment registers what the org has; then both sides are equal, with nothing refused. A field that is new in the
    org waits until the hook runs again, and comes by itself then.
    """
    stack = embedded_stack
    with running_ring(stack, "schemas_registered", records={"Account": 20}) as ring:
        config = ("-c", str(ring.config_path))
        code, found = typed(monkeypatch, capsys, "check", *config)
        assert (code, {each["new"] for each in found["subjects"]}) == (0, {True})
        code, found = typed(monkeypatch, capsys, "register", *config)
        assert (code, {each["became"] for each in found["subjects"]}) == (0, {"new"})
        code, found = typed(monkeypatch, capsys, "diff", *config)
        assert (code, [each for each in found["subjects"] if each["new"] or each["changes"]]) == (0, [])
        with reading_only(stack.registry_url) as (url, refused):
            pointed_to(ring.config_path, url)
            ring.reload()
            # Their memory is measured below: no forks, which have what other connectors import, too.
            ring.programs = dict.fromkeys(ring.config.roster.connectors, ("-m", "salmon"))
            ring.start()
            ring.wait_equal()
            key = ring.ids("Account")[0]
            ring.db.accounts.update_one({"_id": key}, {"$set": {"Site": "Rome"}})
            until(lambda: ring.row("Account", key)["Site"] == "Rome", "the edit is in the org")
            peaks = {name: peak_mib(process.pid) for name, process in ring.processes.items()}
            assert refused == []
            registry_of_processes = yaml.safe_load(ring.config_path.read_text())["schema_registry"]["url"]
            control = ring.org["control_url"]
            field = {"name": "Fleet__c", "type": "string", "length": 20}
            requests.post(f"{control}/fields", json={"object": "Account", "fields": [field]}, timeout=10)
            ring.sf.Account.update(key, {"Fleet__c": "blue"})
            port = ring.ports["salesforce-source"]
            until(lambda: "may not register" in str(ring.health(port)), "/health says who has to do what")
            pointed_to(ring.config_path, stack.registry_url)
            assert typed(monkeypatch, capsys, "register", *config)[0] == 0
            pointed_to(ring.config_path, registry_of_processes)
            ring.wait_document("accounts", key, lambda seen: seen.get("Fleet__c") == "blue")
            assert set(ring.stop().values()) == {0}
    connectors = yaml.safe_load((CHART / "values.yaml").read_text())["connectors"]
    requests_mib = {
        name: int(each["resources"]["requests"]["memory"].removesuffix("Mi"))
        for name, each in connectors.items()
    }
    assert {name: peak for name, peak in peaks.items() if peak > requests_mib[name]} == {}, (
        "the chart asks for too little memory"
    )


def peak_mib(pid: int) -> float:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def pointed_to(config: Path, registry_url: str) -> None:
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["schema_registry"]["url"] = registry_url
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
