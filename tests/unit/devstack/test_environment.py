"""The addresses of a stack, for a shell."""

from __future__ import annotations

import subprocess

from salmon.devstack.environment import exports, variables

ANSWER = {
    "config": "sync.yaml",
    "kafka": {"bootstrap_servers": "127.0.0.1:1"},
    "schema_registry": {"url": "http://127.0.0.1:2"},
    "mongodb": {"uri": "mongodb://127.0.0.1:3/?replicaSet=rs0", "database": "crm"},
    "salesforce": {"login_url": "https://127.0.0.1:4", "ca_file": "/a folder/it's $HOME.pem"},
}


def test_a_shell_that_evaluates_the_lines_has_every_value_as_it_is() -> None:
    """Also one with blanks, quotes and dollars."""
    script = "\n".join([*exports(ANSWER), 'printf "%s" "$SALESFORCE_CA_FILE|$MONGODB_CONNECTION_URI"'])
    shown = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout
    assert shown == "/a folder/it's $HOME.pem|mongodb://127.0.0.1:3/?replicaSet=rs0"


def test_the_next_stack_is_not_given_the_mongodb_of_this_one() -> None:
    """MONGODB_URI would make `dev up` use it in place of one of its own."""
    assert "MONGODB_URI" not in variables(ANSWER)
