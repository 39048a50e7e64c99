"""
All steps of `salmon setup`, put together. Another system's steps are added here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from salmon.config.models import SyncConfig
from salmon.errors import LoginChanged, RetriableError, SetupError
from salmon.salesforce.catalog import is_polled
from salmon.salesforce.wire.administration import Administration
from salmon.salesforce.wire.http import Https
from salmon.salesforce.wire.rest import Rest
from salmon.salesforce.wire.signing_in.auth import GivenSession
from salmon.setup.org import OrgSetup
from salmon.setup.reports import report_steps
from salmon.setup.steps import Became, Step


def set_up(config: SyncConfig, *, dry: bool, admin_token: str | None = None) -> Iterator[Step]:
    """
    Make in the org what the sync needs and the org lacks, and in MongoDB the indexes of reports; return the steps as they are taken.

    Args:
        config: The sync.
        dry: Say what would be made, and make nothing.
        admin_token: An access token of an administrator, who then makes things; None: the integration user does.

    Raises:
        ConfigError: the configuration cannot be used, or the token is of another org.
        SetupError, Unavailable: the org does not let us in, or cannot be asked now. What was made stays.
    """
    with ExitStack() as opened:
        rest = Rest(config.salesforce, https=Https(config.salesforce.ca_file, proxy=config.salesforce.proxy))
        opened.callback(rest.close)
        token = rest.sign_in.token()
        user = Administration(rest)
        admin = user
        if admin_token is not None:
            https = Https(config.salesforce.ca_file, proxy=config.salesforce.proxy)
            of_admin = Rest(
                config.salesforce, GivenSession(config.salesforce, admin_token, token, https), https=https
            )
            opened.callback(of_admin.close)
            admin = Administration(of_admin)
        try:
            polled = [name for name, each in config.objects.items() if is_polled(each)]
            markers = {name: each.markers.names for name, each in config.objects.items()}
            yield from OrgSetup(
                tuple(config.objects),
                admin,
                user,
                dry=dry,
                polled=polled,
                markers=markers,
                channel=config.salesforce.pubsub.channel.rpartition("/")[2],
            ).steps()
            yield from report_steps(config, rest.describe, dry=dry)
        except (RetriableError, LoginChanged) as error:
            raise SetupError(
                f"{error} What was made so far stays: run `salmon setup` again to make the rest."
            ) from error


def as_dict(config: SyncConfig, steps: Sequence[Step], *, dry: bool) -> dict[str, Any]:
    """For scripts."""
    return {
        "sync": config.name,
        "dry_run": dry,
        "complete": is_complete(steps),
        "made": sum(step.became is Became.MADE for step in steps),
        "steps": [
            {"name": step.name, "became": step.became.value, "says": step.says, "mend": step.mend}
            for step in steps
        ],
    }


def is_complete(steps: Sequence[Step]) -> bool:
    """Whether nothing is left for a person."""
    return not any(step.needs_a_person for step in steps)
