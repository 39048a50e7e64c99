"""
Makes many small edits on both sides at once, each on its own record and with its own value.

The two sides edit different records, so any conflict among these edits would be a false one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pymongo.errors import PyMongoError
from requests import RequestException
from simple_salesforce.exceptions import SalesforceError

from salmon.demo.people import Application, Person
from salmon.demo.watching import Watch
from salmon.model.change import MONGODB, SALESFORCE

# The field that the crowd edits in each object: text that nothing else in the demo changes.
FIELDS: Final[Mapping[str, str]] = {"Account": "Site", "Contact": "Department", "Opportunity": "NextStep"}
_WORDS: Final = ("North quay", "Loading dock", "Harbour", "Upper lock", "Weir", "Fish ladder")


@dataclass(slots=True)
class Crowd:
    """
    Two threads, one for each side.

    Args:
        ids: Object -> Salesforce Ids, which are also the documents' `_id`s. Each record is edited at most once.
        a_second: Edits a second, on each side.
    """

    person: Person
    application: Application
    watch: Watch
    ids: Mapping[str, Sequence[str]]
    a_second: float
    edits: Counter[tuple[str, str]] = field(default_factory=Counter)  # (object, side)
    failures: list[str] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start editing."""
        client = self.person.client()
        sides: dict[str, Callable[[str, str, str], object]] = {
            SALESFORCE: lambda name, key, value: getattr(client, name).update(key, {FIELDS[name]: value}),
            MONGODB: self._set,
        }
        for number, (side, edit) in enumerate(sides.items()):
            arguments = (side, edit, number)
            thread = threading.Thread(target=self._work, args=arguments, name=f"crowd-{side}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop, and return after the last edit has returned."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _work(self, side: str, edit: Callable[[str, str, str], object], number: int) -> None:
        names = [name for name in FIELDS if name in self.ids]
        turns = min(len(self.ids[name]) for name in names) // 2 * len(names)
        began = time.monotonic()
        for turn in range(turns):
            # By the plan, and not by the last edit: a slow answer must not slow down the edits.
            if self._stopped.wait(max(0.0, began + turn / self.a_second - time.monotonic())):
                return
            name = names[turn % len(names)]
            key = self.ids[name][turn // len(names) * 2 + number]
            value = f"{_WORDS[turn % len(_WORDS)]} {side[0]}{turn}"
            self.watch.begun(value, name, side)
            try:
                edit(name, key, value)
            except (SalesforceError, RequestException, PyMongoError) as error:
                self.watch.failed(value)
                self.failures.append(f"{side}: {type(error).__name__}")
                continue
            self.watch.returned(value)
            self.edits[name, side] += 1

    def _set(self, name: str, key: str, value: str) -> Any:
        return self.application.collection(name).update_one({"_id": key}, {"$set": {FIELDS[name]: value}})
