"""`salmon simulator` refuses wrong options in one sentence, before it makes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from salmon.simulator.__main__ import main


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--records", "x"], "--records: 'x' is not OBJECT=COUNT"),
        (["--records", "=5"], "--records: '=5' is not OBJECT=COUNT"),
        (["--records", "Account=-1"], "--records: 'Account=-1' is not OBJECT=COUNT"),
        (["--records", "Account=many"], "--records: 'Account=many' is not OBJECT=COUNT"),
        (["--records", "Lead=1"], "--records names Lead, but the objects are Account, Contact, Opportunity"),
        (["--objects", "Account", "--records", "Contact=1"], "--records names Contact, but the objects are"),
        (["--objects", "Account,"], "--objects: 'Account,' is not a list of objects"),
        (["--objects", "Lead"], "--objects: Lead has no describe file in"),
        (["--describe", "nowhere"], "--describe: nowhere is not a folder"),
        (["--seed", "x"], "--seed: invalid int value: 'x'"),
        (["--keepalive-s", "0"], "--keepalive-s: '0' is not a number of seconds, above 0 and up to 270"),
        (["--keepalive-s", "nan"], "--keepalive-s: 'nan' is not a number of seconds"),
        (["--keepalive-s", "5m"], "--keepalive-s: '5m' is not a number of seconds"),
        (["--rest-port", "65536"], "--rest-port: '65536' is not a whole number from 0 to 65535"),
        (["--pubsub-port", "-1"], "--pubsub-port"),
        (["--control-port", "http"], "--control-port: 'http' is not a whole number"),
        (["--advertised-rest-port", "1.5"], "--advertised-rest-port: '1.5' is not a whole number"),
    ],
)
def test_a_wrong_option_is_named_in_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], says: str
) -> None:
    """Exit code 2, one line on standard error, and no folder."""
    code = exit_code([*options, "--dir", str(tmp_path / "org")])
    told = capsys.readouterr()
    assert (code, told.out, told.err.count("\n")) == (2, "", 1)
    assert says in told.err
    assert list(tmp_path.iterdir()) == []


def exit_code(arguments: list[str]) -> int | str | None:
    try:
        return main(arguments)
    except SystemExit as ended:
        return ended.code
