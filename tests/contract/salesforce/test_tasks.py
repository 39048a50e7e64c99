"""The source and the sink of Salesforce on the simulator, as a process of its own: what they promise the worker."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salmon.errors import ConfigError, FatalError, RateLimited, SchemaOutdated, SetupError, Unavailable
from salmon.model.change import Op, WriteOp
from salmon.plugin.contract import OutcomeKind, Signal, SignalKind, SinkRecord
from salmon.salesforce.reading import source as source_module
from salmon.salesforce.reading.source import SalesforceSourceTask
from salmon.salesforce.reading.stream.subscription import Subscription
from salmon.salesforce.writing.sink import SalesforceSinkTask
from support.orgs.salesforce_box import SETTLE_S, BoxProcess, Source, configured, started_sink, write
from support.waiting import until

CREATE, UPDATE, DELETE = WriteOp.CREATE, WriteOp.UPDATE, WriteOp.DELETE


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoxProcess]:
    records = ("--records", "Account=2300", "--records", "Contact=50")
    with BoxProcess(tmp_path_factory.mktemp("box"), *records) as process:
        yield process


@pytest.fixture
def box(process: BoxProcess) -> Iterator[BoxProcess]:
    yield process
    process.heal()


# The source.


def test_everything_is_read_once_and_then_events_come(box: BoxProcess) -> None:
    """More rows than a page holds, each once; then an edit, within a moment and as the fields that changed."""
    with Source(box).through_snapshots() as source:
        rows = [key for key, op in source.seen() if op is Op.ROW]
        assert len(rows) == len(set(rows)) >= 2350
        account = box.ids("Account")[0]
        box.edit("Account", account, BillingCity="Bern", BillingStreet=None, AnnualRevenue=12.5)
        before = len(source.told)
        source.until(lambda: len(source.told) > before)
        (told,) = source.told[before:]
        assert (told.object, told.key, told.change.op) == ("Account", account, Op.UPDATE)
        assert told.change.changed is not None
        assert told.change.changed >= {"BillingCity", "AnnualRevenue", "LastModifiedDate"}
        assert told.change.fields["BillingCity"] == "Bern"
        assert told.change.ack is None


def test_what_happens_while_nobody_listens_is_told_after_a_restart(box: BoxProcess) -> None:
    """The position says where to go on; nothing is read again."""
    account = box.ids("Account")[0]
    with Source(box).through_snapshots() as first:
        # Of a stream of which nothing was ever heard, nobody could tell what it has lost (case L2).
        read = len(first.told)
        box.edit("Account", account, Phone="0")
        first.until(lambda: len(first.told) > read)
    box.edit("Account", account, Phone="1")
    contact = box.create("Contact", LastName="New", AccountId=account)
    with Source(box, of=first) as second:
        second.until(lambda: len(second.told) == 2)
        assert second.seen() == [(account, Op.UPDATE), (contact, Op.CREATE)]
        assert second.told[1].change.fields["AccountId"] == account


def test_a_source_that_is_stopped_in_the_middle_of_a_snapshot_goes_on_there(box: BoxProcess) -> None:
    """No row is missed."""
    with Source(box) as first:
        first.until(lambda: any(0 < run.read < 2300 for run in first.task.progress()))
    with Source(box, of=first).through_snapshots() as second:
        keys = {key for key, _ in (*first.seen(), *second.seen())}
        assert keys == {*box.ids("Account"), *box.ids("Contact")}
        # Of a stream of which the first had not heard an event yet, nobody could tell what was lost: all is read again.
        assert len(second.told) < len(keys) or not first.positions["stream"]["replay_id"]


def test_edits_during_the_snapshot_are_told_and_never_undone(box: BoxProcess) -> None:
    """Whoever follows rows and events in the order told ends with what the org holds."""
    contacts = box.ids("Contact")[:20]
    with Source(box) as source:
        for number in range(3):
            for contact in contacts:
                box.edit("Contact", contact, Phone=f"{number}-{contact}")
                source.poll(0)
        source.through_snapshots()
        source.until(lambda: all(source.view()[c].get("Phone") == f"2-{c}" for c in contacts))
        phones: dict[str, list[str]] = {}
        for record in source.news():
            if record.key in contacts and (phone := record.change.fields.get("Phone")):
                phones.setdefault(record.key, []).append(str(phone))
        edits = {key: [phone for phone in told if phone.endswith(key)] for key, told in phones.items()}
        assert all(told == sorted(told) for told in edits.values()), "no value came back after a newer one"


def test_an_idle_source_makes_no_api_call(box: BoxProcess) -> None:
    """API calls are metered; listening is not one."""
    with Source(box).through_snapshots() as source:
        source.poll()
        calls = box.api_calls()
        for _ in range(10):
            source.poll(0.05)
        assert box.api_calls() == calls
        assert sum(source.task.api_calls().values()) > 0


def test_sessions_that_are_revoked_and_streams_that_are_cut_lose_nothing(box: BoxProcess) -> None:
    """A new token, the stream again after the last event, and everything once."""
    account = box.ids("Account")[0]
    with Source(box).through_snapshots() as source:
        before = len(source.told)
        for number in range(6):
            box.edit("Account", account, Fax=str(number))
            if number == 1:
                box.fault("revoke_sessions")
                box.fault("cut_streams")
            if number == 3:
                box.fault("cut_streams")
        source.until(lambda: source.view()[account].get("Fax") == "5")
        assert [record.change.fields["Fax"] for record in source.told[before:]] == list("012345")
        source.task.request(Signal(1, SignalKind.READ, "Account", (account,)))
        box.advance(3)
        source.until(lambda: source.answered == {1})


def test_a_stream_that_falls_silent_is_opened_again_after_the_last_event(
    box: BoxProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays open, and no keepalive comes in time: what happened meanwhile comes once, and nothing is read for it."""
    account = box.ids("Account")[0]

    def impatient(*args: Any, **settings: Any) -> Subscription:
        return Subscription(*args, **{**settings, "silence_max_s": 1.0})

    monkeypatch.setattr(source_module, "Subscription", impatient)
    with Source(box).through_snapshots() as it:
        before = len(it.told)
        box.fault("silence", s=3600)
        box.edit("Account", account, Fax="in the silence")
        it.until(lambda: "stream_fell_silent" in capsys.readouterr().out)
        assert it.told[before:] == []
        box._control("DELETE", "faults")
        it.until(lambda: it.told[before:])
        box.edit("Account", account, Fax="after it")
        it.until(lambda: len(it.told) >= before + 2)
        assert [record.change.fields["Fax"] for record in it.told[before:]] == ["in the silence", "after it"]


@pytest.mark.parametrize("fault", ["corrupt_replay", "expire_replay"])
def test_a_lost_position_is_answered_by_reading_everything_anew(box: BoxProcess, fault: str) -> None:
    """What was edited, created and deleted in the hole is told, by rows and an absence."""
    gone, edited = box.create("Account", Name="to be deleted"), box.ids("Account")[0]
    with Source(box).through_snapshots() as first:
        box.edit("Account", edited, Fax="heard")
        first.until(lambda: first.view()[edited].get("Fax") == "heard")
    box.edit("Account", edited, Fax="lost")
    box.delete("Account", gone)
    new = box.create("Account", Name="created in the hole")
    box.fault(fault)
    with Source(box, of=first) as second:
        second.told.extend(first.told)
        second.until(lambda: second.positions["stream"] != first.positions["stream"])
        box.advance(5)
        second.through_snapshots()
        view = second.view()
        assert view[edited]["Fax"] == "lost"
        assert view[new]["Name"] == "created in the hole"
        assert gone not in view
        absences = [record.change for record in second.of(gone) if record.change.op is Op.ABSENT]
        assert absences
        assert all(told.committed_at > 0 for told in absences), "the recycle bin knows when it was deleted"
        box.edit("Account", edited, Fax="after")
        second.until(lambda: second.view()[edited]["Fax"] == "after")


@pytest.mark.parametrize("fault", ["gap", "overflow"])
def test_events_that_do_not_say_it_all_are_answered_by_rows(box: BoxProcess, fault: str) -> None:
    """Of the record, or of the whole object where too much changed at once."""
    account = box.ids("Account")[0]
    with Source(box).through_snapshots() as source:
        box.fault(fault, object="Account", count=1)
        box.edit("Account", account, Fax=fault)
        source.poll()
        box.advance(5)
        source.until(lambda: source.view()[account].get("Fax") == fault)
        assert source.of(account)[-1].change.op is Op.ROW


def test_a_quiet_orgs_earlier_events_are_not_delivered(tmp_path: Path) -> None:
    """
    Its stream says nothing for minutes: the records are read meanwhile, and again when somebody works. Of the events that the org
    still has, none is delivered.
    """
    with BoxProcess(tmp_path, "--records", "Account=3", "--keepalive-s", "270") as quiet:
        account, deleted = quiet.ids("Account")[:2]
        for number in range(20):
            quiet.edit("Account", account, Fax=str(number))
        with Source(quiet, "Account").through_snapshots() as source:
            assert source.view()[account]["Fax"] == "19"
            assert source.positions["stream"]["replay_id"] == ""
        quiet.delete("Account", deleted)
        edits = 0
        with Source(quiet, "Account", of=source) as again:
            while again.positions["stream"]["replay_id"] == "":
                edits += 1
                quiet.edit("Account", account, Fax="heard", Site=str(edits))
                again.poll()
            quiet.advance(10)
            again.until(lambda: again.view().get(account, {}).get("Fax") == "heard")
            again.until(lambda: (deleted, Op.ABSENT) in again.seen())
        assert quiet.events_delivered() <= edits


def test_what_a_quiet_org_did_while_nobody_listened_is_read_though_its_events_have_expired(
    tmp_path: Path,
) -> None:
    """Nothing was ever heard, so no position tells of the hole: a start from the stream's beginning is one like any other (case L2)."""
    with BoxProcess(tmp_path, "--records", "Account=3", "--keepalive-s", "270") as quiet:
        edited, deleted, worked_on = quiet.ids("Account")
        with Source(quiet, "Account").through_snapshots() as source:
            assert source.positions["stream"]["replay_id"] == ""
        quiet.edit("Account", edited, Fax="while nobody listened")
        quiet.delete("Account", deleted)
        quiet.fault("expire_replay")
        with Source(quiet, "Account", of=source) as again:
            while again.positions["stream"]["replay_id"] == "":
                quiet.edit(
                    "Account", worked_on, Site=str(time.monotonic())
                )  # the stream says something again
                again.poll()
            quiet.advance(10)
            again.until(lambda: again.view().get(edited, {}).get("Fax") == "while nobody listened")
            again.until(lambda: (deleted, Op.ABSENT) in again.seen())
            told = {op for key, op in again.seen() if key in (edited, deleted)}
            assert told == {Op.ROW, Op.ABSENT}, "no event is left to say it"


def test_repeated_events_have_the_same_order(box: BoxProcess) -> None:
    """So that the fold knows them again."""
    account = box.ids("Account")[0]
    with Source(box).through_snapshots() as source:
        before = len(source.told)
        box.edit("Account", account, Fax="once")
        source.until(lambda: len(source.told) > before)
        box.fault("repeat_events", count=1)
        box.fault("cut_streams")
        box.edit("Account", account, Fax="twice")
        source.until(lambda: source.view()[account]["Fax"] == "twice")
        orders = [record.change.order for record in source.told[before:]]
        assert orders == sorted(orders)


# The sink, and how its writes come back.


def test_writes_come_back_with_their_ack(box: BoxProcess) -> None:
    """A contact and its account are born elsewhere, edited and deleted: every echo names its write."""
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        before = len(source.told)
        created = sink.put(
            [
                write(
                    CREATE,
                    "Contact",
                    "$oid:c",
                    11,
                    LastName="Lovelace",
                    AccountId="$oid:a",
                    Birthdate=-56_270,
                ),
                write(CREATE, "Account", "$oid:a", 10, Name="Engine Co", AnnualRevenue=1.5),
            ]
        )
        assert [outcome.kind for outcome in created] == [OutcomeKind.APPLIED] * 2
        native_id = created[0].native_id
        assert box.show("Contact", str(native_id))["Birthdate"] == "1815-12-10"
        (updated,) = sink.put(
            [write(UPDATE, "Contact", "$oid:c", 12, native_id=native_id, LastName="King", Phone=None)]
        )
        (deleted,) = sink.put([write(DELETE, "Contact", "$oid:c", 13, native_id=native_id, expected=12)])
        assert (updated.kind, deleted.kind) == (OutcomeKind.APPLIED, OutcomeKind.APPLIED)
        source.until(lambda: len(source.told) == before + 4)
        told = source.told[before:]
        assert [(r.key, r.change.op, r.change.ack) for r in told] == [
            ("$oid:a", Op.CREATE, 10),
            ("$oid:c", Op.CREATE, 11),
            ("$oid:c", Op.UPDATE, 12),
            ("$oid:c", Op.DELETE, None),
        ]
        assert told[1].change.fields["AccountId"] == "$oid:a"
        assert told[1].change.fields["Birthdate"] == -56_270
        assert source.identities["Contact"] == {native_id: "$oid:c"}
    with Source(box).through_snapshots() as anew:
        assert anew.view()["$oid:a"]["Name"] == "Engine Co", (
            "a later reader knows the key from the first row on"
        )


def test_a_write_that_changes_nothing_is_acknowledged_too(box: BoxProcess) -> None:
    """The marker always changes, so there is always an event."""
    account = box.ids("Account")[1]
    with Source(box).through_snapshots() as source:
        before = len(source.told)
        started_sink(box, source).put([write(UPDATE, "Account", account, 77, native_id=account)])
        source.until(lambda: len(source.told) > before)
        assert source.told[before].change.ack == 77


def test_a_triggers_own_changes_come_with_the_echo(box: BoxProcess) -> None:
    """Nothing is dropped for being caused by us."""
    account = box.ids("Account")[1]
    box.trigger(object="Account", when={"field": "Phone"}, set={"Fax": "+41 {Phone}"})
    with Source(box).through_snapshots() as source:
        before = len(source.told)
        started_sink(box, source).put([write(UPDATE, "Account", account, 78, native_id=account, Phone="5")])
        source.until(lambda: len(source.told) > before)
        told = source.told[before].change
        assert (told.ack, told.fields["Phone"], told.fields["Fax"]) == (78, "5", "+41 5")


def test_each_write_has_its_own_outcome(box: BoxProcess) -> None:
    """Too long, not there, a parent that is not there, and one that is well, in one batch."""
    one, two = box.ids("Account")[1:3]
    with Source(box).through_snapshots() as source:
        outcomes = started_sink(box, source).put(
            [
                write(UPDATE, "Account", one, 80, native_id=one, Phone="1" * 41),
                write(UPDATE, "Account", "001Sm0000000zzzIAA", 80, native_id="001Sm0000000zzzIAA", Phone="1"),
                write(CREATE, "Contact", "$oid:x", 80, LastName="X", AccountId="$oid:nobody"),
                write(UPDATE, "Account", two, 80, native_id=two, Phone="1"),
            ]
        )
        assert [outcome.kind for outcome in outcomes] == [
            OutcomeKind.REFUSED,
            OutcomeKind.GONE,
            OutcomeKind.DEFERRED,
            OutcomeKind.APPLIED,
        ]
        assert (outcomes[0].code, outcomes[0].fields) == ("STRING_TOO_LONG", frozenset({"Phone"}))
        assert outcomes[2].waits_for == (("Account", "$oid:nobody"),)


def test_a_repetition_after_a_kill_is_one_record_and_one_edit(box: BoxProcess) -> None:
    """The same writes again, by an instance that does not know what became of them; and an older one."""
    account = box.ids("Account")[2]
    writes = [
        write(CREATE, "Account", "$oid:once", 90, Name="Once"),
        write(UPDATE, "Account", account, 91, native_id=account, Fax="91"),
    ]
    with Source(box).through_snapshots() as source:
        started_sink(box, source).put(writes)
        box.edit("Account", account, Fax="by hand")
        outcomes = started_sink(box, source, clean=False).put(writes)
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.SKIPPED] * 2
        assert box.show("Account", account)["Fax"] == "by hand"
        assert len(box.ids("Account", "Salmon_Id__c = '$oid:once'")) == 1


def test_a_record_made_by_hand_with_our_key_is_not_overwritten(box: BoxProcess) -> None:
    """Nobody has read it yet."""
    with Source(box).through_snapshots() as source:
        native_id = box.create("Account", Name="by hand", Salmon_Id__c="$oid:hand")
        (outcome,) = started_sink(box, source).put([write(CREATE, "Account", "$oid:hand", 92, Name="ours")])
        assert (outcome.kind, outcome.native_id) == (OutcomeKind.EXISTS, native_id)
        assert box.show("Account", native_id)["Name"] == "by hand"


def test_a_record_that_lives_again_keeps_its_key(box: BoxProcess) -> None:
    """Deleted in Salmon's back and edited in MongoDB: a new Id, the old key, and no twin of the old one."""
    with Source(box).through_snapshots() as source:
        first = box.create("Account", Name="first life")
        box.delete("Account", first)
        source.until(lambda: (first, Op.DELETE) in source.seen())
        (outcome,) = started_sink(box, source).put([write(CREATE, "Account", first, 93, Name="second life")])
        assert outcome.kind is OutcomeKind.APPLIED
        source.until(lambda: source.view().get(first, {}).get("Name") == "second life")
        assert source.of(first)[-1].change.native_id == outcome.native_id != first


def test_locked_rows_are_put_again_later(box: BoxProcess) -> None:
    """Nothing is wrong with the write: once the other transaction is over, the same write goes through."""
    account = box.ids("Account")[3]
    box.fault("lock_rows", object="Account", ids=[account], s=600)
    update = write(UPDATE, "Account", account, 93, native_id=account, Fax="put again")
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        (outcome,) = sink.put([update])
        assert outcome.kind is OutcomeKind.RETRY_LATER
        assert box.show("Account", account)["Fax"] != "put again"
        box.heal()
        (outcome,) = sink.put([update])
        assert outcome.kind is OutcomeKind.APPLIED
        assert box.show("Account", account)["Fax"] == "put again"


def test_a_record_in_an_approval_waits_for_its_end(box: BoxProcess) -> None:
    """Updates and deletions alike (case L10); afterwards the same write goes through."""
    account = box.ids("Account")[3]
    box.fault("lock_rows", object="Account", ids=[account], approval=True)
    update = write(UPDATE, "Account", account, 94, native_id=account, Fax="94")
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        for each in (update, write(DELETE, "Account", account, 94, native_id=account)):
            (outcome,) = sink.put([each])
            assert (outcome.kind, outcome.code) == (OutcomeKind.DEFERRED, "ENTITY_IS_LOCKED")
        box.heal()
        (outcome,) = sink.put([update])
        assert outcome.kind is OutcomeKind.APPLIED


def test_a_parent_that_was_deleted_is_waited_for_until_it_is_restored(box: BoxProcess) -> None:
    """Created or updated, its children are not refused for good: what somebody restores mends them (DESIGN 4a)."""
    parent = box.create("Account", Name="Deleted")
    contact = box.create("Contact", LastName="Child")
    box.delete("Account", parent)
    writes = [
        write(CREATE, "Contact", "$oid:orphan", 95, LastName="Orphan", AccountId=parent),
        write(UPDATE, "Contact", contact, 96, native_id=contact, AccountId=parent),
    ]
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        for outcome in sink.put(writes):
            assert (outcome.kind, outcome.fields) == (OutcomeKind.DEFERRED, frozenset({"AccountId"}))
            assert (outcome.waits_for, outcome.again_s) == ((("Account", parent),), 60.0)
        box.recycle_bin("undelete", "Account", parent)
        assert [outcome.kind for outcome in sink.put(writes)] == [OutcomeKind.APPLIED] * 2


def _put(sink: SalesforceSinkTask, writes: Sequence[SinkRecord]) -> list[OutcomeKind]:
    """What became of *writes*; nothing while the org is given a pause."""
    try:
        return [outcome.kind for outcome in sink.put(writes)]
    except RateLimited:
        return []


def test_an_org_that_cannot_serve_pauses_the_sink(box: BoxProcess) -> None:
    """Down, then out of API calls: the worker is told to come again, and nothing is done twice."""
    account = box.ids("Account")[3]
    writes = [write(UPDATE, "Account", account, 95, native_id=account, Fax="95")]
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        box.fault("http", api="collections", status=503, times=1)
        with pytest.raises(Unavailable):
            sink.put(writes)
        box.fault("exhaust_api")
        with pytest.raises(RateLimited):
            sink.put(writes)
        box.heal()
        until(lambda: _put(sink, writes) == [OutcomeKind.APPLIED], "the pause is over")


def test_revoked_sessions_do_not_reach_the_worker(box: BoxProcess) -> None:
    """The sink signs in again by itself."""
    account = box.ids("Account")[3]
    with Source(box).through_snapshots() as source:
        sink = started_sink(box, source)
        box.fault("revoke_sessions")
        (outcome,) = sink.put([write(UPDATE, "Account", account, 96, native_id=account, Fax="96")])
        assert outcome.kind is OutcomeKind.APPLIED


# What only a person can mend: one sentence each, with the key.


def refusal(box: BoxProcess, *names: str, exclude: tuple[str, ...] = (), **changes: object) -> FatalError:
    task = SalesforceSourceTask(
        box.config(**changes), configured(*(names or ("Account",)), exclude=exclude), "crm"
    )
    with pytest.raises(FatalError) as caught:
        task.start({}, {})
    task.close()
    return caught.value


def test_a_certificate_that_does_not_verify(box: BoxProcess) -> None:
    """The sentence names the key that holds the authority."""
    assert "salesforce.ca_file: the certificate of" in str(refusal(box, ca_file=None))
    assert "does not exist" in str(refusal(box, ca_file="/nowhere.pem"))


def test_a_server_that_cannot_be_reached(box: BoxProcess) -> None:
    """It may come up: so it is no fatal error, and its sentence names the key all the same."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for changes, key in (
            ({"login_url": f"https://127.0.0.1:{port}"}, "salesforce.login_url"),
            ({"pubsub": {"endpoint": f"127.0.0.1:{port}"}}, "salesforce.pubsub.endpoint"),
        ):
            task = SalesforceSourceTask(box.config(**changes), configured("Account"), "crm")
            with pytest.raises(Unavailable, match=key):
                task.start({}, {})
            task.close()


def test_a_wrong_client_user_or_key(box: BoxProcess, tmp_path: Path) -> None:
    """Each names its place in the config, and shows no secret."""
    auth = box.config().auth.model_dump()
    key = auth["private_key"].get_secret_value()
    wrong_client = refusal(box, auth={**auth, "client_id": "nobody"})
    assert isinstance(wrong_client, ConfigError | SetupError)
    assert "salesforce.auth" in str(wrong_client)
    assert "salesforce.auth" in str(refusal(box, auth={**auth, "username": "nobody@nowhere"}))
    no_key = str(refusal(box, auth={**auth, "private_key": "no PEM"}))
    assert "salesforce.auth.private_key" in no_key
    assert key.splitlines()[1] not in no_key


def test_objects_and_fields_that_are_not_there(box: BoxProcess) -> None:
    """An object, a field of one, and an object whose changes nobody publishes."""
    assert "objects.Nothing__c: the org has no object" in str(refusal(box, "Nothing__c"))
    assert "objects.Account.fields.exclude" in str(refusal(box, exclude=("Nope__c",)))
    box.fault("cdc", object="Account", on=False)
    assert "Setup, Change Data Capture" in str(refusal(box))


def test_markers_that_nobody_made(tmp_path: Path) -> None:
    """The sentence says which field to create, and as what."""
    with BoxProcess(tmp_path, "--no-marker-fields", "--objects", "Account,Contact") as bare:
        assert "Salmon_Seq__c" in str(refusal(bare))
        assert "Number(18, 0)" in str(refusal(bare))


# One object is broken, and the others go on (case V10).


def break_account(box: BoxProcess, how: str) -> None:
    """As an admin does by mistake."""
    if how == "no change events":
        box.fault("cdc", object="Account", on=False)
    elif how == "hidden":
        box.fault("hide", object="Account")
    else:
        box.fault("hide", object="Account", fields=[how])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("Id", "has no field Id"),
        ("Salmon_Seq__c", "has no field Salmon_Seq__c, or hides it"),
        ("hidden", "The requested resource does not exist"),
        ("no change events", "Setup, Change Data Capture"),
    ],
)
def test_a_source_starts_while_one_object_is_broken_and_takes_it_back_when_it_is_mended(
    box: BoxProcess, how: str, says: str
) -> None:
    """The other object's edits come, and the org's own words say what to mend; then what was missed comes too (case V10)."""
    account, gone = box.ids("Account")[4:6]
    with Source(box).through_snapshots() as first:
        registered = first.task.schemas()
    break_account(box, how)
    box.edit("Account", account, Phone=how)
    box.delete("Account", gone)
    with Source(box, of=first, registered=registered) as second:
        (waits,) = second.task.waiting()
        assert waits.object == "Account"
        assert says in waits.sentence
        contact = box.create("Contact", LastName="Goes on", AccountId=account)
        second.until(lambda: contact in second.view())
        assert second.view()[contact]["AccountId"] == account
        assert not second.of(account)
        box.heal()
        second.until(lambda: not second.task.waiting())
        box.advance(5)
        second.until(lambda: second.view().get(account, {}).get("Phone") == how)
        second.until(lambda: any(each.change.op in (Op.ABSENT, Op.DELETE) for each in second.of(gone)))
        box.edit("Account", account, Phone="after")
        second.until(lambda: second.view()[account]["Phone"] == "after")


def test_an_object_that_was_broken_is_read_again_after_a_restart_too(box: BoxProcess) -> None:
    """The process ended before anybody had mended it: that its events were missed is part of the position (case V10)."""
    account = box.ids("Account")[6]
    with Source(box).through_snapshots() as first:
        registered = first.task.schemas()
    break_account(box, "no change events")
    with Source(box, of=first, registered=registered) as second:
        box.edit("Account", account, Phone="missed")
        contact = box.create("Contact", LastName="Goes on too")
        second.until(lambda: contact in second.view())
    box.heal()
    with Source(box, of=second, registered=registered).through_snapshots() as third:
        assert third.view()[account]["Phone"] == "missed"


def test_an_object_that_comes_back_with_other_fields_restarts_the_process(box: BoxProcess) -> None:
    """Its schema has to be registered before anything of it is written (case V10)."""
    with Source(box).through_snapshots() as first:
        registered = first.task.schemas()
    break_account(box, "Id")
    with Source(box, of=first, registered=registered) as second:
        box.heal()
        box.fault("hide", object="Account", fields=["Fax"])
        with pytest.raises(SchemaOutdated, match="Account"):
            second.until(lambda: False)


def test_an_object_that_never_worked_ends_the_source_with_every_mend(box: BoxProcess) -> None:
    """At a first start, and where it is new in the configuration: a person is there to correct it (case V10)."""
    break_account(box, "Salmon_Id__c")
    box.fault("cdc", object="Contact", on=False)
    said = str(refusal(box, "Account", "Contact", "Opportunity"))
    assert "Account has no field Salmon_Id__c" in said
    assert "no change events of Contact" in said
    assert "Opportunity" not in said


def test_a_sink_starts_while_one_object_is_broken_and_writes_it_when_it_is_mended(box: BoxProcess) -> None:
    """Nothing is written without the marker fields, and the other object's writes go on (case V10)."""
    account, contact = box.ids("Account")[7], box.ids("Contact")[7]
    with Source(box).through_snapshots() as source:
        break_account(box, "Salmon_Seq__c")
        sink = started_sink(box, source)
        writes = [
            write(UPDATE, "Account", account, 97, native_id=account, Fax="97"),
            write(UPDATE, "Contact", contact, 97, native_id=contact, Fax="97"),
        ]
        assert [outcome.kind for outcome in sink.put(writes)] == [
            OutcomeKind.RETRY_LATER,
            OutcomeKind.APPLIED,
        ]
        (waits,) = sink.waiting()
        assert (waits.object, "Salmon_Seq__c" in waits.sentence) == ("Account", True)
        box.heal()
        until(lambda: not sink.waiting(), "the object is taken back")
        (outcome,) = sink.put(writes[:1])
        assert outcome.kind is OutcomeKind.APPLIED
        assert box.show("Account", account)["Fax"] == "97"


@pytest.mark.parametrize("restarts", [False, True])
def test_change_events_that_are_switched_off_meanwhile_are_noticed_and_nothing_is_lost(
    box: BoxProcess, *, restarts: bool
) -> None:
    """It is said what to do; what was edited meanwhile is read when they are on again, also by a process that began after that."""
    account = box.ids("Account")[6]
    with Source(box).through_snapshots() as source:
        box.fault("cdc", object="Account", on=False)
        (waits,) = until(source.task.waiting, "it is noticed")
        assert waits.object == "Account"
        assert "Setup, Change Data Capture" in waits.sentence
        box.edit("Account", account, Phone=f"off {restarts}")
        contact = box.create("Contact", LastName="Goes on")
        source.until(lambda: contact in source.view())
        assert source.positions["snapshot/Account"]["done"] is False
        if not restarts:
            box.heal()
            source.until(lambda: not source.task.waiting())
            box.advance(5)
            source.until(lambda: source.view()[account].get("Phone") == f"off {restarts}")
            return
    box.heal()
    with Source(box, of=source) as second:
        box.advance(5)
        second.until(lambda: second.view().get(account, {}).get("Phone") == f"off {restarts}")


def test_change_events_that_were_off_while_nobody_looked_are_made_up_for(box: BoxProcess) -> None:
    """Switched off and on again while the source was stopped: the stream has no gap, but the selection is another one."""
    account = box.ids("Account")[7]
    with Source(box).through_snapshots() as source:
        source.until(lambda: source.positions["stream"].get("selected", {}).get("Account"))
    box.fault("cdc", object="Account", on=False)
    box.edit("Account", account, Phone="off")
    box.fault("cdc", object="Account", on=True)
    with Source(box, of=source) as second:
        second.until(lambda: second.positions["snapshot/Account"]["why"] == "hole")
        box.advance(5)
        second.until(lambda: second.view().get(account, {}).get("Phone") == "off")
        contact = box.create("Contact", LastName="Goes on")
        second.until(lambda: contact in second.view())
        assert second.positions["snapshot/Contact"]["why"] == "first"


def test_a_reading_of_a_whole_object_that_fails_for_long_is_reported(
    box: BoxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/health says that all records of the object are waited for, since when and why, until they are read."""
    monkeypatch.setattr("salmon.salesforce.reading.source.WAITS_MIN_S", 0.0)
    with Source(box).through_snapshots() as source:
        box.fault("http", api="rest", status=500, error_code="INTERNAL_SERVER_ERROR")
        source.task.request(Signal(5, SignalKind.SNAPSHOT, "Account"))
        (waits,) = until(source.task.waiting, "it is reported")
        assert waits.object == "reading Account"
        assert "INTERNAL_SERVER_ERROR" in waits.sentence
        box.heal()
        source.until(lambda: source.answered == {5})
        assert source.task.waiting() == []


def test_an_object_whose_schema_the_registry_refuses_waits_until_the_org_changes_it(box: BoxProcess) -> None:
    """The schema that is registered is used meanwhile; to describe it again in the same way mends nothing (case V10)."""
    with Source(box).through_snapshots() as first:
        registered = first.task.schemas()
    fewer = replace(registered["Account"], fields=registered["Account"].fields[:-1])
    task = SalesforceSourceTask(
        box.config(), configured("Account", "Contact"), "crm", settle_s=SETTLE_S, again_s=0.05
    )
    task.use_registered({**registered, "Account": fewer})
    task.connect()
    assert task.keep_registered("Account", SetupError("the registry refuses it")) is fewer
    calls = task.api_calls()["describe"]
    task.start(first.positions, first.identities)
    until(lambda: task.api_calls()["describe"] > calls + 1, "it is described again")
    task.poll(0.1)
    (waits,) = task.waiting()
    assert waits.sentence == "objects.Account: the registry refuses it"
    task.stop()
    task.close()
