"""
Reads the configuration again on SIGHUP, while the process works.

A file that has faults changes nothing: what was read before counts on. Of a file without faults, what may change while a process runs counts at once;
for the rest, the process says which settings need a restart. Both are in the log and in /health.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from salmon.app.connector_plugins import is_for
from salmon.app.live import Live
from salmon.app.serving import config_of
from salmon.config import models as configuration
from salmon.config.live import changes, with_live_of
from salmon.config.models import SyncConfig
from salmon.errors import ConfigError
from salmon.ops.connect import loggers
from salmon.ops.health import Health
from salmon.plugin.contract import WaitingObject

log = structlog.get_logger(__name__)

WHAT: Final = "configuration"  # for /health
_API: Final = "api"  # its process
_NAMED_MAX: Final = 10  # settings in a sentence
_OPENS: Final = (
    "The configuration was read again, and the former one counts on: api.keys has no key any more, and api.host, api.oidc and "
    "api.keys_collection only count after a restart, so everybody could read and write all records until then. Restart the API; or "
    "leave a key in api.keys until the restart, and send SIGHUP again."
)


class Reloading:
    """
    Args:
        connector: Whose process this is.
        file: The sync's YAML file.
        live: Where the changes count.
    """

    def __init__(self, connector: str, file: Path, live: Live, health: Health) -> None:
        self._connector, self._file, self._live, self._health = connector, file, live, health

    def reload(self) -> None:
        """Read the file, and let count what may."""
        read = self._read()
        if isinstance(read, ConfigError):
            log.error("configuration_refused", reason=str(read))
            self._wait(_refused(read))
            return
        if self._would_open(read):
            log.error("configuration_refused", reason=_OPENS)
            self._wait(_OPENS)
            return
        found = [each for each in changes(self._live.config, read) if is_for(self._connector, each.key)]
        level = self._live.log_level
        self._live.take(read)
        if self._live.log_level != level:
            loggers.set_level(loggers.ROOT, loggers.name_of(self._live.log_level))
        at_once = sorted(each.key for each in found if each.live)
        waiting = sorted(each.key for each in found if not each.live)
        self._show(at_once)
        self._health.objects_wait([], of=WHAT)
        self._health.note(_needs_restart(self._connector, waiting), of=WHAT)
        log.info("configuration_reloaded", changed=at_once, need_restart=waiting)

    def _read(self) -> SyncConfig | ConfigError:
        try:
            return configuration.load(self._file)
        except ConfigError as error:
            return error

    def _would_open(self, read: SyncConfig) -> bool:
        """Whether the keys of the file would be gone before what replaces them counts."""
        api = with_live_of(self._live.config, read).api
        return self._connector == _API and api is not None and api.is_open_to_all

    def _wait(self, sentence: str) -> None:
        self._health.objects_wait([WaitingObject(WHAT, 0.0, sentence)], of=WHAT)

    def _show(self, keys: Iterable[str]) -> None:
        """Let the REST server show these settings as they are now. The others count as they were."""
        shown = config_of(self._connector, self._live.config, self._file)
        for key in keys:
            if key in shown:
                self._live.shown[key] = shown[key]
            else:
                self._live.shown.pop(key, None)


def _refused(error: ConfigError) -> str:
    faults = " ".join(line.strip() for line in str(error).splitlines())
    return (
        f"The configuration was read again, and cannot be used, so the former one counts on; but a restart would fail. {faults} "
        f"Correct it (`salmon config validate` checks it), and send SIGHUP again."
    )


def _needs_restart(connector: str, keys: Iterable[str]) -> str:
    named = list(keys)
    if not named:
        return ""
    more = f" and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
    return (
        f"The configuration has changed: {', '.join(named[:_NAMED_MAX])}{more} will count after a restart of {connector} (POST "
        f"/connectors/{connector}/restart, or restart the process)."
    )
