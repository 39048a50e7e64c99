"""
An admin client for as long as a process runs.

One that was connected as the broker stood still may never reach it again, though the broker answers everybody else (chaos 9102). So
after a request that failed, the next one gets a new client.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka.admin import AdminClient

from salmon.errors import SalmonError

T = TypeVar("T")


class KeptAdmin:
    """
    Threads may share it.

    Args:
        admin: The first client; None: it is made when something is asked.
        make: Makes another one.
    """

    def __init__(self, admin: AdminClient | None, make: Callable[[], AdminClient]) -> None:
        self._admin, self._make = admin, make
        self._lock = threading.Lock()

    def ask(self, request: Callable[[AdminClient], T]) -> T:
        """Return what *request* returns, with a client whose last request did not fail. Raises as it does, and as *make*."""
        with self._lock:
            admin = self._admin = self._admin or self._make()
        try:
            return request(admin)
        except SalmonError:
            with self._lock:
                if self._admin is admin:  # and not one that another thread has made meanwhile
                    self._admin = None
            raise
