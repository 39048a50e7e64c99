"""
Learning every key that records of the synced objects carry, before their first row or event is reported.
"""

from __future__ import annotations

from collections.abc import Collection

from salmon.errors import RateLimited, RequestRejected, RetriableError, SetupError
from salmon.salesforce.identity import Identity
from salmon.salesforce.reading.whole.rows import learn_keys
from salmon.salesforce.troubles import Troubles, sentence
from salmon.salesforce.wire.rest import Rest


def load_identities(
    rest: Rest,
    objects: Collection[str],
    identity: Identity,
    troubles: Troubles,
    worked: Collection[str],
) -> None:
    """
    Learn every key that records of the synced objects carry. What the org refuses of an object that has *worked*
    before is one of the *troubles*, and so is an object that alone cannot be read. Raises Unavailable, RateLimited, SetupError.
    """
    for name in objects:
        if troubles.blocks(name):
            continue  # its keys are read when it is read again
        try:
            learn_keys(rest, identity, name)
        except RequestRejected as error:
            if name not in worked:
                raise SetupError(sentence(name, error)) from error
            troubles.found(name, error)
        except RateLimited:
            raise
        except RetriableError as error:
            rest.look_at_clock()  # in an outage this raises
            if not troubles.failed(name, error) or name not in worked:
                raise
