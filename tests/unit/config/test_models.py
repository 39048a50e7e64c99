"""The configuration: what it takes, and how it tells an operator what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from salmon.config import models as config
from salmon.config.models import SyncConfig
from salmon.config.texts import faults_of_texts
from salmon.errors import ConfigError
from salmon.kafka.properties import BROKERS
from salmon.runtime.error_limit import Tolerance
from salmon.transforms.flow import Place

Write = Callable[[str], Path]

# The example of the README, with a key of its own.
EXAMPLE = """
name: crm
kafka: {bootstrap.servers: "${env:KAFKA_BOOTSTRAP_SERVERS:localhost:9092}"}
schema_registry: {url: "${env:SCHEMA_REGISTRY_URL:http://localhost:8081}"}
salesforce:
  login_url: https://login.salesforce.com
  auth: {flow: jwt_bearer, client_id: "app", username: sync@acme.example, private_key: "${file:sf.key}"}
mongodb: {uri: "${env:MONGODB_URI}", database: crm}
objects:
  Account: {collection: accounts, fields: {exclude: [Fax]}}
  Contact: {collection: contacts, conflicts: {default: last_writer_wins, fields: {Email: salesforce}}}
"""
ENV = {"MONGODB_URI": "mongodb://sync:hunter2@db.example"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a sync.yaml beside a private key."""
    (tmp_path / "sf.key").write_text("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n")

    def write(text: str) -> Path:
        path = tmp_path / "sync.yaml"
        path.write_text(text)
        return path

    return write


def changed(**keys: Any) -> str:
    """The example with some keys, dots for levels, set or (by ...) taken out."""
    tree = yaml.safe_load(EXAMPLE)
    for path, value in keys.items():
        *above, last = path.split("__")
        place = tree
        for part in above:
            place = place[part]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return yaml.safe_dump(tree)


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as error:
        config.load(path, env=ENV)
    return str(error.value)


def test_the_example_is_read(write: Write) -> None:
    """References are resolved, and what is not said has the documented default."""
    sync = config.load(write(EXAMPLE), env=ENV)
    assert sync.name == "crm"
    assert sync.kafka_properties() == {"bootstrap.servers": "localhost:9092"}
    assert sync.schema_registry.url == "http://localhost:8081"
    assert (sync.topics.partitions, sync.topics.replication_factor) == (6, 3)
    assert sync.mongodb.uri.get_secret_value() == ENV["MONGODB_URI"]
    assert sync.objects["Account"].fields.exclude == ("Fax",)
    assert sync.objects["Contact"].conflicts.fields == {"Email": "salesforce"}
    assert sync.objects["Contact"].direction == "both"
    assert sync.topic_names.changes("Account") == "crm.changes.Account"


def test_a_file_is_found_beside_the_configuration(write: Write) -> None:
    """And its last line end is not part of the secret."""
    sync = config.load(write(EXAMPLE), env=ENV)
    assert sync.salesforce.auth.private_key is not None
    key = sync.salesforce.auth.private_key.get_secret_value()
    assert key == "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env:A}", "a"),
        ("${env:A:b}", "a"),
        ("${env:B:b:c}", "b:c"),
        ("${env:B:}", ""),
        ("${env:EMPTY:b}", ""),
        ("x${env:A}y${env:A}", "xaya"),
        ("$${env:A}", "${env:A}"),
        ("$5 {a}", "$5 {a}"),
    ],
)
def test_references_are_resolved_in_texts(write: Write, text: str, value: str) -> None:
    """Defaults may hold colons, a doubled dollar is a dollar, and all else is plain text."""
    path = write(changed(kafka={"bootstrap.servers": "b:1", "client.rack": text}))
    sync = config.load(path, env={**ENV, "A": "a", "EMPTY": ""})
    assert sync.kafka["client.rack"] == value


def test_a_value_from_the_environment_is_never_read_as_yaml(write: Write) -> None:
    """A password may hold any character."""
    wild = "a: {b}: ]#'\"${env:MONGODB_URI}"
    sync = config.load(write(changed(schema_registry__password="${env:P}")), env={**ENV, "P": wild})
    assert sync.schema_registry.password is not None
    assert sync.schema_registry.password.get_secret_value() == wild


def test_a_number_may_come_from_the_environment(write: Write) -> None:
    """It is a text there, and is taken for the number it says."""
    sync = config.load(write(changed(topics={"partitions": "${env:N}"})), env={**ENV, "N": "12"})
    assert sync.topics.partitions == 12


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            changed(objects__Account__colection="x"),
            r"objects\.Account\.colection: unknown key\. Did you mean collection\?",
            id="unknown key",
        ),
        pytest.param(
            changed(verify={"every": "1 day"}),
            r"verify\.every: is text \(str\), but must be a whole number followed by s, m, h or d, e\.g\. 24h",
            id="no duration",
        ),
        pytest.param(changed(verify={"every": "5s"}), r"verify\.every: .* at least 10s", id="too often"),
        pytest.param(
            changed(verify={"every": 24}), r"verify\.every: is a whole number \(int\)", id="no unit"
        ),
        pytest.param(
            changed(converters={}),
            r"converters: unknown key\. Known keys here: api, errors, events, kafka",
            id="no such block",
        ),
        pytest.param(
            changed(objects__Account__fields__renamed={}),
            r"objects\.Account\.fields\.renamed: unknown key",
            id="deep",
        ),
        pytest.param(
            changed(mongodb__database=...), r"mongodb\.database: is missing\. The database with", id="missing"
        ),
        pytest.param(changed(mongodb=...), r"mongodb: is missing", id="missing block"),
        pytest.param(
            changed(mongodb=None), r"mongodb: is nothing \(NoneType\), but must be", id="empty block"
        ),
        pytest.param(
            changed(topics={"partitions": "many"}),
            r"topics\.partitions: is text \(str\), but must be a valid integer",
            id="type",
        ),
        pytest.param(
            changed(topics={"partitions": 0}),
            r"topics\.partitions: is a whole number \(int\), but must be greater than or equal to 1",
            id="bound",
        ),
        pytest.param(
            changed(objects__Account__direction="sideways"),
            r"direction: is text \(str\), but must be 'both', 'to_mongodb' or 'to_salesforce'",
            id="choice",
        ),
        pytest.param(
            changed(salesforce__api_version=64.0),
            r"salesforce\.api_version: is a number \(float\), .* Put it in quotes",
            id="unquoted",
        ),
        pytest.param(changed(name="my.crm"), r"name: is text \(str\), but must match", id="pattern"),
        pytest.param(
            changed(objects__Account__collection="system.users"),
            r"objects\.Account\.collection: must not begin with system\.",
            id="validator",
        ),
        pytest.param(
            changed(objects__Account__collection=".accounts"),
            r"objects\.Account\.collection: must not begin or end with a dot",
            id="dot",
        ),
        pytest.param(
            changed(objects__Account__collection=" "),
            r"objects\.Account\.collection: must not begin or end with a blank",
            id="blank",
        ),
        pytest.param(
            changed(objects__Account__collection="x" * 192),
            r"objects\.Account\.collection: must have 191 bytes or fewer",
            id="long",
        ),
        pytest.param(
            changed(mongodb__database="admin"), r"mongodb\.database: must not be admin", id="reserved"
        ),
        pytest.param(
            changed(objects__Contact__collection="accounts"),
            r"line 14: objects\.Contact\.collection: is the collection of Account, too",
            id="shared collection",
        ),
        pytest.param(
            changed(objects={}), r"objects: is a mapping \(dict\), but must have at least 1", id="none"
        ),
        pytest.param(
            changed(objects={"My Thing": {"collection": "x"}}),
            r"objects\.My Thing: must be the API name",
            id="name",
        ),
        pytest.param(
            changed(kafka={"bootstrap.servers": "b:1", "group.id": "x"}),
            r"kafka\.group\.id: is set by Salmon itself",
            id="our property",
        ),
        pytest.param(
            changed(kafka={"bootstrap.servers": "b:1", "x": []}), r"kafka\.x: is a list \(list\)", id="list"
        ),
        pytest.param(changed(kafka={}), r"kafka\.bootstrap\.servers: is missing", id="no broker"),
        pytest.param(changed(kafka="b:1"), r"kafka: is text \(str\), but must be a mapping\.", id="text"),
        pytest.param(
            changed(salesforce__auth__username="${env:NOBODY}"),
            r"salesforce\.auth\.username: the environment variable NOBODY is not set",
            id="variable",
        ),
        pytest.param(
            changed(salesforce__auth__private_key="${file:/no/such.key}"),
            r"salesforce\.auth\.private_key: the file /no/such\.key cannot be read \(No such file",
            id="file",
        ),
        pytest.param(
            changed(mongodb__database="${vault:x}"),
            r"mongodb\.database: \$\{vault:\.\.\.\} is not known",
            id="provider",
        ),
        pytest.param(
            EXAMPLE + "name: other\n",
            r"line 12: name: is there twice; the first is on line 2\. Remove",
            id="twice",
        ),
        pytest.param(
            changed(objects__Account=None),
            r"objects\.Account: is nothing \(NoneType\), but must be a mapping\.$",
            id="empty object",
        ),
        pytest.param(
            changed(objects__Account__fields={"exclude": "Fax"}),
            r"objects\.Account\.fields\.exclude: is text \(str\), but must be a list\.",
            id="one instead of a list",
        ),
        pytest.param(
            changed(objects__Account__deletes="forget"),
            r"objects\.Account\.deletes\.mode: is text \(str\), but must be 'propagate', 'ignore' or 'archive'",
            id="a mode of deletions that there is not",
        ),
        pytest.param(
            changed(objects__Account__deletes="archive"),
            r"objects\.Account\.deletes: mode archive needs `field`, the checkbox that marks a record that is kept",
            id="an archive without a mark",
        ),
        pytest.param(
            changed(objects__Account__deletes={"mode": "ignore", "field": "Archived__c"}),
            r"objects\.Account\.deletes: has `field`, which is for mode archive only: remove it, or set the mode",
            id="a mark without an archive",
        ),
        pytest.param(
            changed(objects__Account__deletes={"grace_s": -1}),
            r"objects\.Account\.deletes\.grace_s: is a whole number \(int\), but must be greater than or equal to 0",
            id="a grace that ends before it begins",
        ),
        pytest.param(
            EXAMPLE + "merge: &merge {state_dir: [*merge]}\n",
            r"an alias \(\*\) is used inside its own anchor",
            id="alias",
        ),
        pytest.param("name: [", r"is not valid YAML: .*line 1", id="broken"),
        pytest.param("- a", r"must contain a mapping with the keys name, kafka", id="list at the top"),
        pytest.param("", r"must contain a mapping", id="empty"),
    ],
)
def test_each_fault_names_its_key_and_what_is_right(write: Write, text: str, told: str) -> None:
    """One sentence, beginning with the file, from which an operator can mend it."""
    path = write(text)
    message = refused(path)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert re.search(told, message), message


def test_all_faults_are_told_at_once(write: Write) -> None:
    """Nobody should have to start a process five times to find five typing errors."""
    path = write(
        changed(
            nmae="x", topics={"partitions": -1}, mongodb__database=..., schema_registry__url="${env:NOWHERE}"
        )
    )
    head, *faults = refused(path).splitlines()
    assert head == f"{path} has 4 faults:"
    keys = {
        fault.strip().removeprefix("line ").lstrip("0123456789").removeprefix(": ").split(":")[0]
        for fault in faults
    }
    assert keys == {"nmae", "topics.partitions", "mongodb.database", "schema_registry.url"}


def test_each_fault_has_the_line_on_which_it_is_to_be_corrected(write: Write) -> None:
    """Also of a list, of a key that is missing (the line of its block), and of what an anchor brings in from elsewhere."""
    text = """
name: crm
defaults: &defaults {collection: shared, direction: sideways}
kafka: {client.id: x}
schema_registry: {url: "http://localhost:8081"}
salesforce:
  auth:
    flow: jwt_bearer
    client_id: 5
mongodb: {uri: "${env:MONGODB_URI}", database: crm}
objects:
  Account:
    <<: *defaults
    direction: both
    fields:
      exclude:
        - Fax
        - 7
  Contact:
    <<: *defaults
name: again
"""
    _, *faults = refused(write(text)).splitlines()
    told = {":".join(fault.strip().split(":")[:2]): fault for fault in faults}
    assert [*told] == [
        "line 3: defaults",
        "line 3: objects.Contact.collection",
        "line 3: objects.Contact.direction",
        "line 4: kafka.bootstrap.servers",
        "line 7: salesforce.auth",
        "line 9: salesforce.auth.client_id",
        "line 18: objects.Account.fields.exclude.1",
        "line 21: name",
    ]
    assert "flow jwt_bearer needs username and private_key" in told["line 7: salesforce.auth"]
    assert "the first is on line 2" in told["line 21: name"]


def test_what_does_not_fit_is_told_although_something_else_is_wrong(write: Write) -> None:
    """A model that has an unknown key does not compare its settings; an object that is wrong hides no other one."""
    text = changed(
        objects__Contact={"collection": "accounts", "direction": "sideways"},
        rest={"auth": {"token": "", "users": []}},
        events={"A__e": {"collection": "accounts", "nonsense": 1, "direction": "to_salesforce"}},
    )
    message = refused(write(text))
    for told in (
        "objects.Contact.direction: is text",
        "objects.Contact.collection: is the collection of Account, too",
        "rest.auth.users: unknown key",
        "rest.auth.token: is text (str), but must have at least 1",
        "events.A__e.nonsense: unknown key",
        "events.A__e: direction to_salesforce needs fields",
    ):
        assert told in message, message


PLACES = [{"collection": "customers", "filter": "Type == 'Customer'"}, {"collection": "others"}]


def test_an_object_may_have_several_collections(write: Write) -> None:
    """In place of one; each has the records that its filter is for, and the last one may have all others."""
    objects = config.load(write(changed(objects__Account={"collections": PLACES})), env=ENV).objects
    assert objects["Account"].places == ("customers", "others")
    steps = [step for _, step in objects["Account"].flow("Account").of(Place)]
    assert steps == [Place("customers", "Type == 'Customer'"), Place("others")]


@pytest.mark.parametrize(
    ("settings", "key", "said"),
    [
        ({}, "collection", "is missing"),
        ({"collection": "a", "collections": PLACES}, "collection", "cannot stand beside `collections`"),
        ({"collections": PLACES[1:]}, "collections", "must have two entries or more"),
        ({"collections": [PLACES[1], PLACES[0]]}, "collections.0.filter", "only the last collection"),
        ({"collections": [PLACES[0], *PLACES]}, "collections", "has customers twice"),
        ({"collections": PLACES, "fields": {"rename": {"Name": "n"}}}, "collections", "fields.rename"),
        ({"collections": PLACES, "match": {"on": "Name"}}, "collections", "cannot be used with `match`"),
        ({"collections": PLACES, "direction": "to_salesforce"}, "collections", "written to MongoDB"),
        ({"collections": [{"collection": "contacts"}, PLACES[1]]}, "collections.0.filter", "is missing"),
        ({"collections": [{"collection": "c", "filter": "Type =="}, PLACES[1]]}, "collections.0.filter", ""),
        (
            {"collections": [{"collection": "system.c", "filter": "true"}, PLACES[1]]},
            "collections.0",
            "reserved",
        ),
    ],
)
def test_what_several_collections_cannot_be_is_said_at_the_key(
    write: Write, settings: dict[str, Any], key: str, said: str
) -> None:
    """All at once, each with what to do."""
    message = refused(write(changed(objects__Account=settings)))
    assert f"objects.Account.{key}" in message
    assert said in message


def test_no_collection_belongs_to_two_objects(write: Write) -> None:
    """Also if it is one of several."""
    places = [PLACES[0], {"collection": "contacts"}]
    several = {"Account": {"collections": places}, "Contact": {"collection": "contacts"}}
    message = refused(write(changed(objects=several)))
    assert "objects.Contact.collection: is the collection of Account, too" in message


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With the option that names it."""
    message = refused(tmp_path / "none.yaml")
    assert (
        message
        == f"{tmp_path / 'none.yaml'}: cannot be read (No such file or directory). Give the sync's YAML file with -c."
    )


_NO_BROKERS: tuple[Any, ...] = (
    *(
        5,
        1.5,
        True,
        "5:",
        ":9092",
        ",",
        "a..b:9092",
        "b:0",
        "b:99999",
        "b:x",
        "ho$t:9092",
        "a b:9092",
        "a*b",
        "a|b:1",
    ),
    *("b:1,(c):1", "[::::]:1", "[b]:1", "::1", "b:1;c:1", "'b':1", "x" * 64, "PLAINTEXT://"),
)


@pytest.mark.parametrize("brokers", _NO_BROKERS)
@pytest.mark.parametrize("name", sorted(BROKERS))
def test_brokers_that_no_host_can_be_are_named_with_their_key(write: Write, name: str, brokers: Any) -> None:
    """Before it, they were tried until the first contact gave up."""
    message = refused(write(changed(kafka={"bootstrap.servers": "b:1"} | {name: brokers})))
    assert f"kafka.{name}: " in message
    assert "HOST:PORT of one broker or more" in message


@pytest.mark.parametrize(
    "brokers",
    ["b", "b:1, c.d-e_f:2", "127.0.0.1:9092", "[::1]:9092", "SASL_SSL://b:1", "büro.example:1", "b.:1"],
)
def test_brokers_that_librdkafka_takes_are_taken(write: Write, brokers: str) -> None:
    """Names of any alphabet, addresses of both kinds, with and without a port."""
    assert config.load(write(changed(kafka={"bootstrap.servers": brokers})), env=ENV)


@pytest.mark.parametrize("endpoint", ["a..b:1", "ho$t:7443", "h:0", "h:99999"])
def test_an_event_endpoint_that_no_host_can_be_is_named_with_its_key(write: Write, endpoint: str) -> None:
    """It would be tried for ever, as an outage."""
    message = refused(write(changed(salesforce__pubsub={"endpoint": endpoint})))
    assert "salesforce.pubsub.endpoint: must be HOST:PORT" in message


@pytest.mark.parametrize(
    "host", ["a..b", "[::::]", "host:99999", "x" * 64, ":8081", "ho$t", "a*b", "a%20b", "a|b", "a\\b"]
)
def test_an_address_of_which_no_client_can_make_anything_is_named_with_its_key(
    write: Write, host: str
) -> None:
    """Before it, the process ended with a traceback of the HTTP client, or waited for a server that cannot exist."""
    message = refused(write(changed(schema_registry__url=f"http://{host}/api")))
    assert "schema_registry.url: must name a host" in message
    message = refused(write(changed(salesforce__login_url=f"https://{host}")))
    assert "salesforce.login_url: must" in message


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (changed(salesforce__login_url=f"https://u:{SECRET}@acme.example"), "salesforce.login_url"),
        (changed(salesforce__login_url=f"https://acme.example?token={SECRET}"), "salesforce.login_url"),
        (changed(salesforce__login_url=f"https://acme.example#{SECRET}"), "salesforce.login_url"),
        (changed(salesforce__pubsub={"endpoint": f"{SECRET}@acme:7443"}), "salesforce.pubsub.endpoint"),
        (changed(schema_registry__url=f"http://u:{SECRET}@registry:8081"), "schema_registry.url"),
        (changed(schema_registry__url=f"http://registry:8081?token={SECRET}"), "schema_registry.url"),
        (changed(schema_registry__url=f"http://registry:8081/#{SECRET}"), "schema_registry.url"),
        (changed(kafka={"bootstrap.servers": f"SASL://u:{SECRET}@h:1"}), "kafka.bootstrap.servers"),
        (changed(kafka={"bootstrap.servers": f"h:1,u:{SECRET}@h:1"}), "kafka.bootstrap.servers"),
        (
            changed(kafka={"bootstrap.servers": "h:1", "metadata.broker.list": f"u:{SECRET}@h"}),
            "kafka.metadata.broker.list",
        ),
        (
            changed(
                kafka={
                    "bootstrap.servers": "h:1",
                    "sasl.oauthbearer.token.endpoint.url": f"https://u:{SECRET}@idp.example/token",
                }
            ),
            "kafka.sasl.oauthbearer.token.endpoint.url",
        ),
        (changed(merge={"state_dir": f"https://x?password={SECRET}"}), "merge.state_dir"),
        (changed(mongodb__uri=f"mongodb://u:pa?{SECRET}=1@db"), "mongodb.uri"),
    ],
)
def test_credentials_in_an_address_are_refused_without_being_quoted(
    write: Write, text: str, key: str
) -> None:
    """Addresses are shown in errors, logs and the REST API; users and passwords have settings of their own (case X2)."""
    message = refused(write(text))
    assert f"{key}: " in message
    assert SECRET not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "servers", ["h:9092", "PLAINTEXT://h:9092, [::1]:9093", "h", "SASL_SSL://b-1.x.example:9096"]
)
def test_brokers_without_credentials_are_taken(write: Write, servers: str) -> None:
    """With or without a protocol and a port, as librdkafka takes them."""
    assert config.load(write(changed(kafka={"bootstrap.servers": servers})), env=ENV)


def bomb(levels: int) -> str:
    return "\n".join(
        ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))]
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(bomb(12), "once its aliases", id="bomb"),
        pytest.param(
            "a0: &a0 {x: 1}\n"
            + "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)),
            "once its aliases",
            id="bomb of merges",
        ),
        pytest.param("a: " + "[" * 5_000 + "]" * 5_000, "levels deep", id="deep"),
        pytest.param("a: " + "{a: " * 5_000, "levels deep", id="deep mappings"),
        pytest.param("[" + "1," * 100_000 + "]", "more than 50,000 values", id="many"),
        pytest.param("a" * 300_000, "larger than 256 KiB", id="large"),
        pytest.param(EXAMPLE + "1: a\n1: b\n", "line 13: 1: is there twice", id="a number twice"),
        pytest.param(f"name: *{SECRET}", "put it in quotes", id="an alias that is a password"),
        pytest.param(f"name: !{SECRET} x", "put it in quotes", id="a tag that is a password"),
        pytest.param("name: 2001-99-99", "Put it in quotes", id="no date"),
        pytest.param("? [a]\n: b", "is not valid YAML", id="a list as a key"),
        pytest.param("name: \x00", "is not valid YAML", id="a control character"),
    ],
)
def test_a_file_that_no_operator_wrote_is_refused_at_once_in_one_sentence(
    write: Write, text: str, told: str
) -> None:
    """A YAML bomb, a depth or a size beyond all sense; and nothing of it is quoted (case X3)."""
    path = write(text)
    message = refused(path)
    assert told in message
    assert "\n" not in message
    assert len(message) < 400
    assert SECRET not in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: 'crm\nkafka: {}\n", "end of the file, in a quoted text that begins on line 1 (line 3"),
        ("name: [crm,\nkafka: x", "expected ',' or ']', but got the end of the file, in a list in brackets"),
        ("name: {crm", "Close the bracket."),
        (
            f"name:\n  - {SECRET}\n kafka: x",
            "expected the end of the block, but found a key, in a mapping that",
        ),
        (
            "\tname: crm",
            r"found character '\t' that cannot start any token (line 1, column 1). Indent with spaces",
        ),
        (f"name: @{SECRET}", "found character '@' that cannot start any token"),
        ('name: "\\q"', "unknown escape character ... (line 1, column 9). Put the value in single quotes."),
        (f"name: {SECRET}: b", "Put a value that contains a colon and a space in quotes"),
        (f"name: crm\nkafka: {SECRET}\x01", "line 2 has a control character"),
    ],
)
def test_a_mistake_in_the_yaml_is_told_to_its_end(write: Write, text: str, told: str) -> None:
    """What was expected, what is there, where it begins, and what to do; but nothing of the file's own texts."""
    message = refused(write(text))
    assert told in message
    assert SECRET not in message


PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0B+/==\n-----END PRIVATE KEY-----\n"


def test_a_key_may_be_in_the_file_with_its_lines(write: Write) -> None:
    """By `|` in YAML, as people paste it."""
    plain = yaml.safe_load(EXAMPLE)
    plain["salesforce"]["auth"]["private_key"] = "KEY"
    plain["kafka"] |= {"ssl.key.pem": "KEY", "ssl.certificate.pem": "KEY", "security.protocol": "ssl"}
    block = "|\n" + "".join(f"          {line}\n" for line in PEM.splitlines())
    read = config.load(write(yaml.safe_dump(plain).replace("KEY\n", block)), env=ENV)
    key = read.salesforce.auth.private_key
    assert key is not None
    assert key.get_secret_value() == PEM
    assert read.kafka_properties()["ssl.key.pem"] == PEM


@pytest.mark.parametrize(
    ("settings", "has_fault"),
    [
        ({"sheets": {"private_key": PEM}}, False),
        ({"sheets": {"client": {"cert": PEM + PEM}}}, False),
        ({"sheets": {"api_token": "a\tb"}}, False),
        ({"sheets": {"folder": "a\nb"}}, True),
        ({"sheets": {"cert": PEM + "and\nmore"}}, True),
    ],
)
def test_a_further_side_may_have_secrets_and_certificates_of_several_lines(
    settings: dict[str, Any], has_fault: bool
) -> None:
    """We do not know its model, but PEM text has a form; and what is called a secret is shown nowhere."""
    assert bool(list(faults_of_texts({"sides": settings}))) == has_fault


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (changed(objects__Account__collection="a\nb"), "objects.Account.collection"),
        (changed(objects__Account__collection="a\u202eb"), "objects.Account.collection"),
        (changed(objects__Account__collection="a$b"), "objects.Account.collection"),
        (changed(objects__Account__collection="a\0b"), "objects.Account.collection"),
        (changed(objects__Account__collection=None), "objects.Account.collection"),
        (changed(mongodb__database="crm\n"), "mongodb.database"),
        (changed(name="crm\n"), "name"),
        (changed(salesforce__auth__username="sync\x1b[2J@acme.example"), "salesforce.auth.username"),
        (changed(objects={"Account\n": {"collection": "x"}}), "objects"),
        (changed(mongodb__uri="mongodb://db/?retryWritez=true"), "mongodb.uri"),
        (changed(mongodb__uri="mongodb://db/?nonsense"), "mongodb.uri"),
    ],
)
def test_a_name_that_no_server_should_ever_see_is_refused(write: Write, text: str, key: str) -> None:
    """Control characters, MongoDB's own signs, options that no driver knows (case X3)."""
    message = refused(write(text))
    assert f"{key}: " in message
    assert message.isprintable()


def test_a_misspelt_option_of_the_uri_is_answered_by_what_it_may_be_meant_for(write: Write) -> None:
    """Drivers ignore what they do not know."""
    assert "Did you mean retrywrites?" in refused(
        write(changed(mongodb__uri="mongodb://db/?retryWritez=true"))
    )


def test_a_file_without_end_is_refused(write: Write) -> None:
    """`${file:/dev/zero}` would fill the memory (case X3)."""
    assert "is larger than" in refused(write(changed(salesforce__auth__private_key="${file:/dev/zero}")))
    assert "larger than 256 KiB" in refused(Path("/dev/zero"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(changed(mongodb__uri=SECRET), id="refused"),
        pytest.param(changed(mongodb__uri=[SECRET]), id="of the wrong type"),
        pytest.param(changed(mongodb__url=SECRET), id="under an unknown key"),
        pytest.param(changed(topics={"partitions": SECRET}), id="in the wrong place"),
        pytest.param(changed(objects__Account__direction=SECRET), id="as a choice"),
        pytest.param(changed(kafka={"bootstrap.servers": "b", "sasl.password": [SECRET]}), id="of Kafka"),
        pytest.param(changed(salesforce__auth={"flow": SECRET, "client_id": 1}), id="as the flow"),
    ],
)
def test_no_value_is_shown_in_an_error(write: Write, text: str) -> None:
    """Whatever was mistyped may be a secret; its key and type are enough to find it."""
    assert SECRET not in refused(write(text))


def test_secrets_are_hidden_in_the_whole_configuration(write: Write) -> None:
    """Whoever logs the configuration logs no password."""
    path = write(
        changed(
            kafka={
                "bootstrap.servers": "b:1",
                "sasl.password": SECRET,
                "ssl.key.password": SECRET,
                "ssl.key.pem": SECRET,
                "sasl.oauthbearer.client.secret": SECRET,
                "sasl.pasword": SECRET,
                "SASL.PASSWORD": SECRET,
                "ssl.key.passphrase": SECRET,
                "sasl.api.key": SECRET,
            },
            schema_registry__password=SECRET,
            mongodb__uri=f"mongodb://u:{SECRET}@db",
            salesforce__auth__client_secret=SECRET,
        )
    )
    sync = config.load(path, env=ENV)
    assert SECRET not in repr(sync)
    assert SECRET not in sync.model_dump_json()
    assert sync.kafka_properties()["sasl.password"] == SECRET, "librdkafka gets it all the same"


@pytest.mark.parametrize(
    ("capture", "mode", "every_s"),
    [
        ("cdc", "cdc", 300.0),
        ("poll", "poll", 300.0),
        ({"mode": "poll", "every": "2s"}, "poll", 2.0),
        ({"mode": "poll", "every": "1d"}, "poll", 86_400.0),
    ],
)
def test_capture_is_a_word_or_has_an_interval(write: Write, capture: Any, mode: str, every_s: float) -> None:
    """Most objects have change events; the interval of the others is bounded."""
    accounts = {"collection": "accounts", "capture": capture}
    taken = config.load(write(changed(objects={"Account": accounts})), env=ENV).objects["Account"].capture
    assert (taken.mode, taken.every_s) == (mode, every_s)


def test_a_refresh_can_be_left_out(write: Write) -> None:
    """The default is once a day, and five minutes after events."""
    accounts = {"collection": "accounts", "refresh": {"every": "never", "after_events": "never"}}
    loaded = config.load(
        write(changed(objects={"Account": accounts, "Contact": {"collection": "contacts"}})), env=ENV
    )
    never, usual = loaded.objects["Account"].refresh, loaded.objects["Contact"].refresh
    assert (never.every_s, never.after_events_s) == (None, None)
    assert (usual.every_s, usual.after_events_s) == (86_400.0, 300.0)


@pytest.mark.parametrize("refresh", [{"every": "1m"}, {"every": "60d"}, {"after_events": "1s"}])
def test_a_refresh_has_bounds(write: Write, refresh: Any) -> None:
    """Each is paid for in API calls."""
    accounts = {"collection": "accounts", "refresh": refresh}
    with pytest.raises(ConfigError, match=r"refresh\."):
        config.load(write(changed(objects={"Account": accounts})), env=ENV)


@pytest.mark.parametrize("every", ["1s", "2d", "often"])
def test_polling_too_often_or_hardly_ever_is_refused(write: Write, every: str) -> None:
    """Too often costs the org's allowance; too rarely, deletions leave the recycle bin unseen."""
    accounts = {"collection": "accounts", "capture": {"mode": "poll", "every": every}}
    with pytest.raises(ConfigError, match=r"capture\.every: .* at least 2s and at most 1d"):
        config.load(write(changed(objects={"Account": accounts})), env=ENV)


def test_the_table_of_settings_has_every_key_once() -> None:
    """It is printed from the models, so a new key is documented the moment it exists."""
    rows = config.settings_table().splitlines()[2:]
    keys = [row.split("|")[1].strip().strip("`") for row in rows]
    assert len(keys) == len(set(keys))
    assert {
        "name",
        "mongodb.uri",
        "salesforce.auth.flow",
        "objects.<sObject>.conflicts.default",
        "rest.port",
    } <= {*keys}
    assert {key.split(".")[0] for key in keys} == {*SyncConfig.model_fields}
    undescribed = [row for row in rows if row.rstrip(" |").endswith(("required", "`", "secret"))]
    assert undescribed == [], "every key says what it means"


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("30m", 1800), ("24h", 86400), ("7d", 604800)])
def test_durations_are_whole_numbers_with_a_unit(write: Write, text: str, seconds: float) -> None:
    """As everybody writes them; without a schedule there is none."""
    assert config.load(write(changed(verify={"every": text})), env=ENV).verify.every_s == seconds
    assert config.load(write(changed()), env=ENV).verify.every_s is None


def test_a_plain_word_for_deletes_is_the_mode(write: Write) -> None:
    """deletes: propagate says the mode alone; the grace keeps its default."""
    (plain, whole) = (
        config.load(write(changed(objects__Account__deletes=said)), env=ENV).objects["Account"].deletes
        for said in ("propagate", {"mode": "propagate", "grace_s": 2})
    )
    assert plain == whole


def test_errors_have_the_names_of_kafka_connect(write: Write) -> None:
    """As keys of `errors`, with their dots; milliseconds become the workers' seconds."""
    text = changed(errors={"tolerance": "none", "retry.timeout": 90_000, "retry.delay.max.ms": 500})
    tolerated = config.load(write(text), env=ENV).errors.tolerated()
    assert (tolerated.tolerates, tolerated.retry_timeout_s, tolerated.retry_delay_max_s) == (False, 90.0, 0.5)
    assert config.load(write(EXAMPLE), env=ENV).errors.tolerated() == Tolerance()


def test_a_wrong_key_of_errors_names_those_that_there_are(write: Write) -> None:
    """As they are written in the file, and not as the program calls them."""
    with pytest.raises(ConfigError, match=r"Did you mean retry\.timeout\?") as unknown:
        config.load(write(changed(errors={"retry.timeouts": 1})), env=ENV)
    assert "limit_" not in str(unknown.value)
    with pytest.raises(ConfigError, match=r"errors\.retry\.timeout: .*milliseconds"):
        config.load(write(changed(errors={"retry.timeout": -5})), env=ENV)
