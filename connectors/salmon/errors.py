"""
Every error we raise. The branch tells the worker what to do next, and nothing else does.

SalmonError
├── RetriableError   repeat: the same call may work later      Unavailable, RateLimited, CacheDamaged
├── DataError        set aside: this record never will (DLQ)   SchemaMismatch, BadRecordKey, RecordTooLarge, ...
├── PositionLost     a hole: read the lost window again        HistoryWentBack (sources answer it themselves)
├── StartAgain       begin again: build everything again       SchemaOutdated, Fenced, ClientLost, LoginChanged, TooManyErrors
└── FatalError       stop: no safe step is left                ConfigError, UnsafeTopic, TopicGone, Superseded

Stopping             asked to stop: unwind to the loop; not an error, so nothing that catches a SalmonError catches it
"""

from __future__ import annotations


class SalmonError(Exception):
    """Base of all our errors; the message says what happened, to what, and what to do next."""


class RetriableError(SalmonError):
    """The same call may work later: repeat it with backoff, keep the order, set nothing aside."""


class Unavailable(RetriableError):
    """A server did not answer, or answered that it cannot serve now."""


class RateLimited(RetriableError):
    """A server asked us to slow down. *retry_after_s* is its own wish, where it gave one, and until then it is not asked."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CacheDamaged(RetriableError):
    """A local copy of what Kafka holds could not be used, and is thrown away: read it again. *reason*: the store's."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class DataError(SalmonError):
    """This record can never be processed as it is; others can. It goes to the dead letter queue."""


class SchemaMismatch(DataError):
    """
    A value does not fit the type that its field has in the schema.

    *reason* is the message for where no value may be shown; by default it is the message itself, which shows none.
    """

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason


class BadRecordKey(DataError):
    """A record's key cannot be a key: too long, outer blanks, or of a type that has no tag."""


class RecordTooLarge(DataError):
    """Kafka takes no record of that size; a smaller one would do."""


class RequestRejected(DataError):
    """
    A server refused one request for what it says, and will again. *code* is its own word for why; *words*: more of its
    own, where they quote no record.
    """

    def __init__(self, message: str, *, code: str, fields: tuple[str, ...] = (), words: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.fields = fields
        self.words = words

    @property
    def said(self) -> str:
        """The server's own word and words."""
        return f"{self.code}: {self.words}" if self.words else self.code


class PositionLost(SalmonError):
    """A source's position is no longer served by its side: what lies between must be read again."""


class HistoryWentBack(PositionLost):
    """The side was restored from a backup, or refreshed: what it shows now may be older than what it told before."""


class StartAgain(SalmonError):
    """
    What this process has built is of no use any more (its clients, its schemas). It ends nothing for good: the process
    becomes a new one, as if the same command had been started again (salmon.app.process).
    """


class SchemaOutdated(StartAgain):
    """An object has a newer schema than the one this process began with, or a newer version of Salmon has written a record."""


class ClientLost(StartAgain):
    """A Kafka client can do no more, or what it stood for is lost. Nothing is said about other instances."""


class TooManyErrors(StartAgain):
    """So many records fail that the records alone cannot be the cause. They are read again, and nothing more is set aside."""


class LoginChanged(StartAgain):
    """
    A side lets us in as somebody else than before, or is another than before (a sandbox that was refreshed). Who we are, and
    of whom the positions are, is found out as the process begins.
    """


class Fenced(StartAgain):
    """
    Kafka serves this instance no longer. A newer one may have taken its place; or it was away for too long, which Kafka
    tells in the same words. Which of the two it was is found out as it begins again (salmon.runtime.newest).
    """


class FatalError(SalmonError):
    """No safe step is left: the process stops, says why in one sentence, and exits with 2."""


class ConfigError(FatalError):
    """The configuration cannot be used; the message names the key and the mend."""


class UnknownField(ConfigError):
    """A setting names a field that the object does not have, or that is not synced."""


class SetupError(FatalError):
    """A server is there, but not as we need it (no replica set, no such object, no permission)."""


class UnfitServer(SetupError):
    """
    A server is there, but as it is now, we cannot work with it (not in its replica set, a right is missing). If it has
    never served us, that is a mistake in the configuration. If it has, it is an outage like any other, and is waited for.
    """


class SignInRefused(ConfigError, UnfitServer):
    """A server does not accept who we are, or we do not accept who it is: a password, a certificate."""


class UnsafeTopic(FatalError):
    """A topic exists with a setting that would lose data; to go on would lose it in silence."""

    def __init__(self, topic: str, setting: str, *, found: str, needed: str) -> None:
        super().__init__(
            f"{topic}: {setting} is {found!r}, which can lose data; it must be {needed!r}. "
            f"Alter the topic, or choose another sync name."
        )


class TopicGone(FatalError):
    """A topic was deleted while its sync ran. What was in it is lost, so a person should know."""


class Superseded(FatalError):
    """A newer instance of this process has started, and lives. This one stops for good and writes nothing."""


class Stopping(Exception):
    """The process was asked to stop while it waited. It unwinds to the loop, and is not an error."""
