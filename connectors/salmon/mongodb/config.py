"""
The settings for MongoDB, and what its two tasks need to know about a synced object.

TLS, sign-in and time-outs are set in the connection string, as for every other program (MongoDB Manual,
Connection String Options); for the rest, salmon.mongodb.wire.client has defaults.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from salmon.transforms.flow import Flow

# MongoDB Manual, Connection String Options: all drivers know them, in small letters. With no others, PyMongo is not asked: most
# processes and commands read the configuration and talk to no MongoDB, and PyMongo takes longer to import than the rest of it.
USUAL_OPTIONS: Final = frozenset(
    {
        *(
            "appname",
            "authmechanism",
            "authmechanismproperties",
            "authsource",
            "compressors",
            "connecttimeoutms",
        ),
        *(
            "directconnection",
            "heartbeatfrequencyms",
            "journal",
            "loadbalanced",
            "localthresholdms",
            "maxidletimems",
        ),
        *("maxpoolsize", "maxstalenessseconds", "minpoolsize", "readconcernlevel", "readpreference"),
        *("readpreferencetags", "replicaset", "retryreads", "retrywrites", "serverselectiontimeoutms"),
        *(
            "sockettimeoutms",
            "ssl",
            "tls",
            "tlsallowinvalidcertificates",
            "tlsallowinvalidhostnames",
            "tlscafile",
        ),
        *("tlscertificatekeyfile", "tlscertificatekeyfilepassword", "tlsinsecure", "uuidrepresentation", "w"),
        *("waitqueuetimeoutms", "wtimeoutms"),
    }
)


class MongoConfig(BaseModel):
    """One MongoDB deployment: a replica set or a sharded cluster, and the database in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: SecretStr = Field(
        description="Connection string, mongodb:// or mongodb+srv://. Never shown, because it can contain a password."
    )
    # MongoDB Manual, Limits and Thresholds, Naming Restrictions.
    database: str = Field(
        min_length=1,
        max_length=63,
        pattern=r'^[^/\\. "$*<>:|?\x00]+$',
        description="The database with all synced collections.",
    )

    @field_validator("uri")
    @classmethod
    def _a_connection_string(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("must begin with mongodb:// or mongodb+srv://")
        _require_known_options(value.get_secret_value())
        return value

    @field_validator("database")
    @classmethod
    def _not_the_servers_own(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("must not contain control characters or other invisible characters")
        if value.lower() in {"admin", "local", "config"}:
            raise ValueError("must not be admin, local or config, which are reserved by MongoDB")
        return value

    @property
    def hosts(self) -> str:
        """The servers as the connection string has them, without user, password and options."""
        written = self.uri.get_secret_value().partition("://")[2].partition("?")[0]
        return written.rpartition("@")[2].partition("/")[0]


def option_names(uri: str) -> list[str]:
    """
    The names of a connection string's options, in small letters. It is not taken for a URL: Python's urlsplit refuses
    passwords that drivers accept, and quotes them as it does.
    """
    query = uri.partition("://")[2].partition("?")[2]
    return [option.partition("=")[0].lower() for option in re.split("[&;]", query) if option]


def _require_known_options(uri: str) -> None:
    """
    Refuse an option that the drivers do not know: they would ignore a misspelt one. The message never shows the text, which
    may be a part of a password; it names only the known option that is most similar.
    """
    unusual = [name for name in option_names(uri) if name not in USUAL_OPTIONS]
    if not unusual:
        return
    from pymongo.common import URI_OPTIONS_ALIAS_MAP, URI_OPTIONS_VALIDATOR_MAP

    known = {*URI_OPTIONS_VALIDATOR_MAP, *URI_OPTIONS_ALIAS_MAP}
    for name in unusual:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"has an option (after the ?) that MongoDB's drivers do not know.{hint} In a password, write ? as %3F"
            )


class SyncedObject(Protocol):
    """What the tasks need from an object's settings."""

    @property
    def places(self) -> tuple[str, ...]:
        """The names of its collections: one, or several."""
        ...

    @property
    def direction(self) -> str:
        """both, to_mongodb or to_salesforce."""
        ...

    @property
    def paths(self) -> Mapping[str, str]:
        """Where documents have fields that are not under their own names: field -> path."""
        ...

    def flow(self, name: str) -> Flow:
        """Its transforms. *name*: of the object."""
        ...


def read_from_mongodb(settings: SyncedObject) -> bool:
    """Whether changes in the object's collection are synced."""
    return settings.direction in {"both", "to_salesforce"}


def written_to_mongodb(settings: SyncedObject) -> bool:
    return settings.direction in {"both", "to_mongodb"}
