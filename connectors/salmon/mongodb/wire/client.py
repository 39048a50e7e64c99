"""
The client, and the border where PyMongo's errors become ours.

Errors are distinguished by type, code and label, never by wording. If a person must correct something, the message names
`mongodb.uri`. No message shows its value, because it can contain a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.dbref import DBRef
from dns.exception import DNSException
from pymongo import MongoClient, ReadPreference, WriteConcern, timeout
from pymongo.database import Database
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.server_type import SERVER_TYPE

from salmon.calls import Calls
from salmon.errors import ConfigError, SalmonError, SetupError, SignInRefused, Unavailable, UnfitServer
from salmon.mongodb.config import MongoConfig, option_names
from salmon.mongodb.wire.watching import watching

Document = dict[str, Any]

# Defaults for what the connection string does not set. An election takes at most about 12 s (MongoDB Manual, Replica Set
# Elections). A call to a server that hangs ends after half a minute, and the worker tries again.
_DEFAULTS: Final = {
    "serverSelectionTimeoutMS": 15_000,
    "connectTimeoutMS": 10_000,
    "socketTimeoutMS": 30_000,
}
_WTIMEOUT_MS: Final = 20_000
_GOODBYE_MAX_S: Final = 1.0

# One document that cannot be read must not stop a stream: a Date beyond the year 9999 and text that is not UTF-8 are
# decoded in a form that salmon.mongodb.documents then reports, with the field. UUIDs stay binary, as they are stored.
CODEC: Final[CodecOptions[Document]] = CodecOptions(
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="surrogateescape",
)

# MongoDB's error_codes.yml. Retriable are the codes of the drivers' Retryable Reads and Retryable Writes specifications, and
# those where the cause is a lock, a conflict, a limit or the cluster's own state, and not the request.
DUPLICATE_KEY: Final = 11000
VALIDATION_FAILED: Final = 121
UNAUTHORIZED: Final = 13
OPTIONS_CONFLICT: Final = frozenset({85, 86})  # IndexOptionsConflict, IndexKeySpecsConflict
NAMESPACE_EXISTS: Final = 48
TOO_LARGE: Final = 10334
# InvalidOptions, InvalidNamespace, CommandNotSupportedOnView, ViewDepthLimitExceeded: a view, for example, has the name.
_NO_COLLECTION: Final = frozenset({72, 73, 165, 166})
_SIGN_IN_FAILED: Final = frozenset({11, 18})  # UserNotFound, AuthenticationFailed
# Atlas has one code for all that it refuses by itself: who we are, a full quota of space, a limit of connections or requests.
_ATLAS: Final = 8000
RETRIABLE_CODES: Final = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        24,  # LockTimeout
        43,  # CursorNotFound
        46,  # LockBusy
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        107,  # LockFailed
        112,  # WriteConflict
        117,  # ConflictingOperationInProgress
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        145,  # PooledConnectionsDropped
        146,  # ExceededMemoryLimit
        149,  # NoConfigPrimary
        150,  # StaleEpoch
        175,  # QueryPlanKilled
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        206,  # NoSuchSession
        211,  # KeyNotFound: of a cluster that is just starting
        215,  # DatabaseDropPending
        216,  # ElectionInProgress
        225,  # TransactionTooOld
        237,  # CursorKilled
        239,  # SnapshotTooOld
        246,  # SnapshotUnavailable
        249,  # StaleDbVersion
        250,  # StaleChunkHistory
        251,  # NoSuchTransaction
        262,  # ExceededTimeLimit
        267,  # PreparedTransactionInProgress
        290,  # TransactionExceededLifetimeLimitSeconds
        314,  # ObjectIsBusy
        365,  # TemporarilyUnavailable
        371,  # UserWritesBlocked: of the whole cluster, while it is migrated or full
        _ATLAS,
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted
        11602,  # InterruptedDueToReplStateChange
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)
_RETRIABLE_LABELS: Final = ("RetryableWriteError", "ResumableChangeStreamError", "TransientTransactionError")
_WIRE_VERSION_OF_6_0: Final = 17


def whole(document: Document | DBRef) -> Document:
    """Return a document that was part of a reply. PyMongo decodes one with the fields `$ref` and `$id` to a DBRef."""
    return dict(document.as_doc()) if isinstance(document, DBRef) else document


def connect(config: MongoConfig, *, app: str, calls: Calls | None = None) -> MongoClient[Document]:
    """
    Connect, and check that the deployment can be used.

    Args:
        config: The settings for MongoDB.
        app: Our name in the server's log and in currentOp.
        calls: Where our calls are recorded, if anywhere.

    Raises:
        ConfigError: the connection string cannot be read.
        UnfitServer: the server is not in a replica set, is too old, has a wrong certificate, or refuses the login.
        Unavailable: the server does not answer. It may be an outage or a mistake: the message names the key and what to
            do, and the caller decides how long to wait for the outage to end.
    """
    client = _client(config, app, calls)
    try:
        _require_usable(client, config)
    except BaseException:
        close(client)
        raise
    return client


def database_of(client: MongoClient[Document], config: MongoConfig) -> Database[Document]:
    """Return the synced database. Reads go to the primary; writes are confirmed by the journals of a majority."""
    return client.get_database(
        config.database,
        codec_options=CODEC,
        read_preference=ReadPreference.PRIMARY,
        write_concern=WriteConcern("majority", wtimeout=_WTIMEOUT_MS, j=True),
        read_concern=ReadConcern("majority"),
    )


def close(client: MongoClient[Document]) -> None:
    """Close the connections, without waiting for a server that does not answer."""
    with suppress(PyMongoError), timeout(_GOODBYE_MAX_S):
        client.close()


@contextmanager
def border(doing: str) -> Iterator[None]:
    """Convert each of PyMongo's errors to one of ours, which says what we were *doing*."""
    try:
        yield
    except PyMongoError as error:
        raise translated(error, doing) from error


def translated(error: PyMongoError, doing: str) -> SalmonError:
    """
    Return our error for one of PyMongo's: repeat, or stop and say what to correct.

    An error is repeated unless we know that only a person can correct it. If a server that has served us reports an unknown
    code, it has a problem of its own. At the first contact, the worker gives up after a while, with the same sentence.
    """
    code = getattr(error, "code", None)
    if code == _ATLAS:
        return Unavailable(
            f"MongoDB Atlas refused us while {doing} (code {code}). It says so of a full storage quota, of a limit of the "
            f"cluster, and of a user that may not sign in: see the cluster's page, and the user in mongodb.uri."
        )
    if is_retriable(error):
        return Unavailable(f"MongoDB could not serve us while {doing} ({type(error).__name__}, code {code}).")
    if code in _SIGN_IN_FAILED:
        return SignInRefused(
            "mongodb.uri: MongoDB refused the user, password or certificate. Correct them, or authSource."
        )
    if code == UNAUTHORIZED:
        return UnfitServer(
            f"mongodb.uri: the user lacks a permission that is needed for {doing}. Grant readWrite on the database."
        )
    if code in _NO_COLLECTION:
        return SetupError(
            f"MongoDB refused our request while {doing} (code {code}): a view or something else has the name of the collection. "
            f"Rename it, or choose another collection."
        )
    if isinstance(error, OperationFailure):
        return Unavailable(
            f"MongoDB refused our request while {doing} (code {code}). See the server's log for the reason; its version "
            f"must be 6.0 or later."
        )
    return Unavailable(f"MongoDB could not be used while {doing} ({type(error).__name__}).")


def is_retriable(error: PyMongoError) -> bool:
    """Whether the same request may work later, as far as type, label and code say."""
    if isinstance(error, ConnectionFailure) or error.timeout:
        return True
    if any(error.has_error_label(label) for label in _RETRIABLE_LABELS):
        return True
    return getattr(error, "code", None) in RETRIABLE_CODES


def _client(config: MongoConfig, app: str, calls: Calls | None) -> MongoClient[Document]:
    uri = config.uri.get_secret_value()
    said = option_names(uri)
    defaults = {name: value for name, value in _DEFAULTS.items() if name.lower() not in said}
    try:
        listeners = watching(calls) if calls is not None else ()
        return MongoClient(uri, appname=app[:128], event_listeners=listeners, **defaults)  # type: ignore[arg-type]
    except (InvalidURI, ConfigurationError, ValueError, TypeError, OSError) as error:
        if isinstance(error.__cause__, DNSException):
            raise Unavailable(
                f"mongodb.uri: the hosts of its mongodb+srv:// name cannot be looked up ({type(error.__cause__).__name__}). "
                f"Check the name, and that this machine reaches its DNS server."
            ) from None
        # The cause is left out, because PyMongo's text can quote the string, including the password.
        raise ConfigError(
            f"mongodb.uri: not a valid connection string ({type(error).__name__}). Write it as "
            f"mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME, with %XX for special characters in the password; "
            f"files that it names must exist."
        ) from None


def _require_usable(client: MongoClient[Document], config: MongoConfig) -> None:
    try:
        hello = client.admin.command("hello")
        _require_replica_set(hello)
        # A cheap command, which is refused if a login is needed and was left out.
        client.get_database(config.database).list_collection_names(authorizedCollections=True)
    except ServerSelectionTimeoutError as error:
        raise _why_unreachable(client) from error
    except PyMongoError as error:
        raise translated(error, "connecting") from error


def _require_replica_set(hello: Document) -> None:
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise UnfitServer(
            "mongodb.uri: the server is not a member of a replica set, so it has no change streams. Start it with "
            "--replSet and run rs.initiate() once, or use a replica set or a sharded cluster."
        )
    if hello.get("maxWireVersion", 0) < _WIRE_VERSION_OF_6_0:
        raise UnfitServer(
            "mongodb.uri: the server is older than MongoDB 6.0. Use a server of version 6.0 or later."
        )


def _why_unreachable(client: MongoClient[Document]) -> SalmonError:
    """Return an error that says why no server could be used, by what PyMongo found out about each."""
    # Not read from the connection string, because its password can have any form.
    found = client.topology_description.server_descriptions()
    hosts = ", ".join(f"{host}:{port}" if port else host for host, port in sorted(found)) or "its hosts"
    servers = found.values()
    if any(server.server_type == SERVER_TYPE.RSGhost for server in servers):
        return UnfitServer(
            f"mongodb.uri: {hosts} was started with --replSet, but its replica set was never initiated. "
            f"Run rs.initiate() on it once."
        )
    # PyMongo keeps only the text of an ssl error; OpenSSL's codes in it are the same in every language.
    said = " ".join(str(server.error) for server in servers)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return SignInRefused(
            f"mongodb.uri: the certificate of {hosts} does not verify. Give its CA as tlsCAFile=/path/ca.pem, and the host "
            f"name that is in the certificate."
        )
    if "[SSL:" in said:
        return SignInRefused(
            f"mongodb.uri: no TLS connection to {hosts} was possible. Check tls=true, and the client certificate if it needs one."
        )
    return Unavailable(
        f"mongodb.uri: none of {hosts} answered as a usable member of the replica set. Check host and port, the name "
        f"of the set, tls=true if the server needs it, and that the server runs."
    )
