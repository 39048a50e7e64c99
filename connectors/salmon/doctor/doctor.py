"""
All checks of a sync, put together. Another system's checks are added here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from salmon.app.sync import Sync
from salmon.config.models import SyncConfig
from salmon.doctor.checks import Check, Line, Outcome, examine
from salmon.doctor.events import EventChecks
from salmon.doctor.objects import ObjectChecks
from salmon.doctor.reports import ReportChecks
from salmon.doctor.salesforce import OrgChecks
from salmon.doctor.servers import KafkaChecks, MongoChecks
from salmon.doctor.sides import SideChecks
from salmon.salesforce.marker_fields import apart_in
from salmon.salesforce.wire.administration import Administration
from salmon.salesforce.wire.http import Https
from salmon.salesforce.wire.pubsub_api.pubsub import PubSub
from salmon.salesforce.wire.rest import Rest

# Shorter than the connectors' own: a person waits. To connect, and between two bytes of an answer.
_TIMEOUT_S: Final = (5.0, 9.0)
_CONNECT_S: Final = 6.0


def diagnose(config: SyncConfig) -> Iterator[Line]:
    """
    Look at everything that the sync needs, and return the lines as they come. Nothing is changed.

    Raises:
        ConfigError: a file that the configuration names is missing, or cannot be read.
    """
    with checks_of(config) as checks:
        yield from examine(checks)


@contextmanager
def checks_of(config: SyncConfig) -> Iterator[Sequence[Check]]:
    """Open clients, and make all checks of a sync; the clients are closed at the end of the block."""
    with ExitStack() as opened:
        https = Https(config.salesforce.ca_file, proxy=config.salesforce.proxy, timeout_s=_TIMEOUT_S)
        rest = Rest(config.salesforce, https=https)
        opened.callback(rest.close)
        pubsub = PubSub(config.salesforce, rest.sign_in)
        opened.callback(pubsub.close)
        sync = Sync(config, client_id="salmon-doctor", connect_s=_CONNECT_S)
        opened.callback(sync.close)
        org = Administration(rest)
        yield (
            *OrgChecks(config, org).checks(),
            *(
                check
                for name, each in config.objects.items()
                for check in ObjectChecks(name, each, org, pubsub, apart_in(config.objects)).checks()
            ),
            *(
                check
                for name, event in config.events.items()
                for check in EventChecks(
                    name, event, pubsub, rest, config.objects.get(event.object or "")
                ).checks()
            ),
            *KafkaChecks(sync).checks(),
            *MongoChecks(config).checks(),
            *ReportChecks(config, rest.describe).checks(),
            *(check for side in config.sides for check in SideChecks(config, side).checks()),
        )


def worst(lines: Sequence[Line]) -> Outcome:
    """The outcome of all lines together."""
    found = {line.outcome for line in lines}
    return next(
        each for each in (Outcome.FAIL, Outcome.WARN, Outcome.OK) if each in found or each is Outcome.OK
    )


def as_dict(config: SyncConfig, lines: Sequence[Line]) -> dict[str, Any]:
    """For scripts."""
    return {
        "sync": config.name,
        "outcome": worst(lines).value,
        "checks": [
            {
                "name": line.name,
                "what": line.what,
                "outcome": line.outcome.value,
                "says": line.says,
                "mend": line.mend,
            }
            for line in lines
        ],
    }
