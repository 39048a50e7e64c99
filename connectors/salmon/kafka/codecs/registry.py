"""
The client of the schema registry. It works with any registry that has Confluent's REST API.

The content of the schemas is defined in model.schema and kafka.codecs.schemas.
"""

from __future__ import annotations

import json
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

import requests
import structlog
from requests.auth import AuthBase

from salmon.backoff import Backoff, Tries
from salmon.calls import Calls, Peer
from salmon.errors import SchemaMismatch, SetupError, SignInRefused, Unavailable, UnfitServer
from salmon.foreign_json import json_in
from salmon.model.schema import ObjectSchema

log = structlog.get_logger(__name__)
T = TypeVar("T")

# A reader with the newest schema can read every record ever written: sinks may be down for a month.
COMPATIBILITY: Final = "BACKWARD_TRANSITIVE"
_BACKOFF: Final = Backoff(first_s=0.1, max_s=1.0)
# Confluent's REST API: no such subject, version, schema. A 404 of another kind is not a registry's.
_NOT_THERE: Final = frozenset({40401, 40402, 40403})
# In envelopes and in rows: by these, a process notices what was written by a newer one (avro.format_of, avro.generation_of).
_OUR_PROPERTIES: Final = frozenset({"format", "salmon"})
_HEADERS: Final = {
    "Accept": "application/vnd.schemaregistry.v1+json, application/json",
    "Content-Type": "application/vnd.schemaregistry.v1+json",
}


class Registry(Protocol):
    """What Salmon needs of a registry."""

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        """Register *schema*, if it is new, and return its id."""

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Return the schema of an id."""

    def latest(self, subject: str) -> tuple[int, dict[str, Any]] | None:
        """The id and the newest schema of a subject; None where there is no such subject."""


def subject(topic: str) -> str:
    """Return the subject of a topic's values (TopicNameStrategy)."""
    return f"{topic}-value"


class SchemaRefused(SetupError):
    """The registry does not accept this schema. It may accept those of other objects."""


def object_schema(registry: Registry, records_topic: str) -> ObjectSchema | None:
    """
    Read the newest schema of an object's `records` topic; None if it is not registered yet.

    Raises:
        ConfigError: the registered schema was not made by Salmon.
        Unavailable, SetupError: the registry does not answer, or refuses us.
    """
    found = registry.latest(subject(records_topic))
    return ObjectSchema.from_avro(found[1]) if found else None


class SchemaRegistry:
    """
    A client of a registry over HTTP. It keeps the schema of an id in memory, because that never changes.

    Args:
        url: Its root; or the roots of several instances of it, divided by commas. If one does not answer, the next one is asked.
        token: For bearer authentication, in place of *username* and *password*.
        certificate: Files of the certificate and the key with which we sign in (mTLS).

    Raises:
        SetupError: *ca_file* does not exist or has no certificate, or so with *certificate*; or, from any method, the registry
            refuses us.
        Unavailable: from any method: no answer, or a 5xx status, after *attempts* attempts.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        ca_file: str | None = None,
        certificate: tuple[str, str] | None = None,
        timeout_s: float = 10.0,
        attempts: int = 5,
        calls: Calls | None = None,
    ) -> None:
        self._urls = deque(each.strip().rstrip("/") for each in url.split(","))
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._calls = calls or Calls()
        # The methods that have worked once. If the registry refuses one of them later, the configuration is not the cause.
        self._worked: set[str] = set()
        self._session = requests.Session()
        self._session.headers.update(_HEADERS)
        if username is not None:
            self._session.auth = (username, password or "")
        elif token is not None:
            self._session.auth = _Bearer(token)
        _check_files(ca_file, certificate)
        self._session.cert = certificate
        # Passed with each request, because requests prefers REQUESTS_CA_BUNDLE to the setting of a session.
        self._verify: str | bool = ca_file or True
        self._schemas: dict[int, dict[str, Any]] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._drops_properties = False  # as far as was seen

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        """
        Register *schema*, if it is new, and return its id. A new subject gets our compatibility.

        Raises:
            SchemaRefused: the registry says that records written so far could not be read with it.
        """
        text = _text(schema)
        if (known := self._ids.get((subject, text))) is not None:
            return known
        latest = self.latest(subject)
        if latest is not None and latest[1] == schema:
            # Nothing is written, so after `salmon schemas register` an account that may only read is enough.
            self._ids[subject, text] = latest[0]
            return latest[0]
        is_new = latest is None
        try:
            answer = self._call("POST", f"/subjects/{_quoted(subject)}/versions", {"schema": text})
        except SignInRefused as refusal:
            if is_new:
                raise
            self._ids[subject, text] = known = self._version_like(subject, schema, refusal)
            return known
        if answer.status_code == 409:
            raise SchemaRefused(
                f"{subject}: the schema registry refuses the new schema as incompatible with what was written so "
                f"far: {self._why_incompatible(subject, text) or _said(answer)}. Take the change back, exclude the "
                f"field from the sync, or choose another sync name."
            )
        if answer.status_code == 422:
            raise SchemaRefused(f"{subject}: the schema registry refuses the schema: {_said(answer)}.")
        schema_id = self._read(answer, _id_in)
        if is_new:
            self._demand_compatibility(subject)
            log.info("schema_registered", subject=subject, id=schema_id)
        self._look_for_our_properties(subject, schema, schema_id)
        self._ids[subject, text] = schema_id
        return schema_id

    def _look_for_our_properties(self, subject: str, schema: Mapping[str, Any], schema_id: int) -> None:
        """Warn, once, if the registry has dropped what is Salmon's own in a schema that it has just taken."""
        ours = _OUR_PROPERTIES & schema.keys()
        if not ours or self._drops_properties:
            return
        try:
            lost = ours - self.schema_by_id(schema_id).keys()
        except SchemaMismatch:
            return  # an instance that does not know it yet
        if lost:
            self._drops_properties = True
            log.warning(
                "schema_properties_dropped",
                registry=self._url,
                subject=subject,
                properties=sorted(lost),
                effect="Salmon cannot see whether a record was written by a newer version or a newer schema.",
                mend="Use a registry, or a proxy before it, that keeps all properties of an Avro schema.",
            )

    def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """
        Return the schema of an id. It is kept in memory.

        Raises:
            SchemaMismatch: the registry does not know this id.
        """
        if (known := self._schemas.get(schema_id)) is not None:
            return known
        answer = self._call("GET", f"/schemas/ids/{schema_id}")
        if self._says_missing(answer):
            raise SchemaMismatch(
                f"the registry at {self._url} has no schema {schema_id}, with which a record was written. Point "
                f"schema_registry.url at the registry that the writer used."
            )
        schema = self._read(answer, _schema_in)
        self._schemas[schema_id] = schema
        return schema

    def latest(self, subject: str) -> tuple[int, dict[str, Any]] | None:
        """The id and the newest schema of a subject; None where there is no such subject."""
        answer = self._call("GET", f"/subjects/{_quoted(subject)}/versions/latest")
        if self._says_missing(answer):
            return None
        return self._read(answer, lambda body: (_id_in(body), _schema_in(body)))

    def versions(self, subject: str) -> list[tuple[int, dict[str, Any]]]:
        """All versions of a subject with their numbers, the oldest first; none where there is no such subject."""
        return [(number, schema) for number, _, schema in self._versions(subject)]

    def _versions(self, subject: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
        path = f"/subjects/{_quoted(subject)}/versions"
        answer = self._call("GET", path)
        if self._says_missing(answer):
            return
        for number in self._read(answer, lambda body: [int(each) for each in body]):
            found = self._call("GET", f"{path}/{number}")
            yield (number, *self._read(found, lambda body: (_id_in(body), _schema_in(body))))

    def _version_like(self, subject: str, schema: Mapping[str, Any], refusal: SignInRefused) -> int:
        """The id of an earlier version that is equal, for an account that may only read, e.g. while a new Salmon is rolled out."""
        for _, schema_id, known in self._versions(subject):
            if known == schema:
                return schema_id
        raise SchemaRefused(
            f"{subject}: has a new schema, and this account may not register it ({refusal}) Run `salmon schemas register` with an"
            f" account that may."
        ) from refusal

    def level(self, subject: str) -> str:
        """What the subject promises about its versions, e.g. BACKWARD_TRANSITIVE; or all subjects, where it has none of its own."""
        answer = self._call("GET", f"/config/{_quoted(subject)}")
        if answer.status_code == 404:
            answer = self._call("GET", "/config")
        return self._read(answer, lambda body: str(body["compatibilityLevel"]))

    def objection(self, subject: str, schema: Mapping[str, Any]) -> str | None:
        """Why the registry would not take *schema*, in its own words, which may be none; None: it would. Nothing is registered."""
        path = f"/compatibility/subjects/{_quoted(subject)}/versions/latest?verbose=true"
        answer = self._call("POST", path, {"schema": _text(schema)})
        if self._says_missing(answer):
            return None
        if answer.status_code == 422:
            return _said(answer)
        return self._read(
            answer,
            # Apicurio says no more than that it is not.
            lambda body: None if body["is_compatible"] else "; ".join(map(str, body.get("messages") or ())),
        )

    def probe(self) -> None:
        """Check whether the server answers; the content does not matter. Raises the errors of requests."""
        self._exchanged("GET", "/config", None)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @property
    def _url(self) -> str:
        """Of the instance that answered last, or is asked next."""
        return self._urls[0]

    def _demand_compatibility(self, subject: str) -> None:
        answer = self._call("PUT", f"/config/{_quoted(subject)}", {"compatibility": COMPATIBILITY})
        if answer.status_code >= 400:
            # Some registries allow this only to administrators. Records can be written and read without it.
            log.warning("compatibility_not_set", subject=subject, wanted=COMPATIBILITY, reason=_said(answer))

    def _why_incompatible(self, subject: str, text: str) -> str:
        path = f"/compatibility/subjects/{_quoted(subject)}/versions/latest?verbose=true"
        answer = self._call("POST", path, {"schema": text})
        if answer.status_code != 200:
            return ""
        try:
            return "; ".join(str(message) for message in answer.json()["messages"])
        except (ValueError, KeyError, TypeError):
            return ""

    def _call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> requests.Response:
        # Bounded: calls that fail at once are repeated for 2 s, and a call that waits for an answer is not repeated. If it
        # is still Unavailable then, the worker repeats and reports it.
        give_up_at = time.monotonic() + self._timeout_s
        tries = Tries(_BACKOFF)
        while True:
            try:
                return self._call_once(method, path, body)
            except Unavailable:
                self._urls.rotate(-1)
                wait_s = tries.failed()
                if tries.failures >= self._attempts or time.monotonic() + wait_s > give_up_at:
                    raise
                time.sleep(wait_s)

    def _call_once(self, method: str, path: str, body: Mapping[str, str] | None) -> requests.Response:
        where = f"the schema registry at {self._url}"
        try:
            with self._calls.calling(Peer.REGISTRY, f"{method} {path}"):
                answer = self._exchanged(method, path, body)
        except requests.exceptions.SSLError:
            raise self._refusal(
                method,
                f"{where}: its certificate does not verify. Set schema_registry.ca_file to the CA that signed it.",
                SignInRefused,
            ) from None
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.MissingSchema,
        ):
            raise SetupError(f"{where}: this is not a valid URL. Correct schema_registry.url.") from None
        except OSError as error:  # all of requests' other errors are, missing CA files included
            if isinstance(error, requests.RequestException):
                raise Unavailable(
                    f"{where} does not answer ({type(error).__name__}). Start it, or correct schema_registry.url."
                ) from None
            raise SetupError(f"{where}: {error}. Correct schema_registry.ca_file.") from None
        if answer.status_code in {401, 403}:
            raise self._refusal(
                method,
                f"{where} answers {answer.status_code}: it refuses access. Check schema_registry.username and "
                f"schema_registry.password, or token, and what this account may do: `salmon schemas register` needs to write, and "
                f"what runs afterwards only to read.",
                SignInRefused,
            )
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Unavailable(f"{where} answers {answer.status_code}.")
        return answer

    def _exchanged(self, method: str, path: str, body: Mapping[str, str] | None) -> requests.Response:
        return self._session.request(
            method,
            f"{self._url}{path}",
            json=body,
            timeout=self._timeout_s,
            verify=self._verify,
            allow_redirects=False,
        )

    def _refusal(
        self, method: str, sentence: str, mistake: type[UnfitServer] = UnfitServer
    ) -> SetupError | Unavailable:
        """Return a mistake, or Unavailable if the same call has worked before, because then the registry has changed."""
        return Unavailable(sentence) if method in self._worked else mistake(sentence)

    def _says_missing(self, answer: requests.Response) -> bool:
        """Whether the registry answers that it does not have this. Raises SetupError if the 404 is not a registry's."""
        if answer.status_code != 404:
            return False
        if _code_of(answer) in _NOT_THERE:
            self._worked.add(str(answer.request.method))
            return True
        raise self._refusal(
            str(answer.request.method),
            f"the schema registry at {self._url} answers 404 to {answer.request.method} {answer.request.path_url}, and "
            f"not as a schema registry does. Set schema_registry.url to the root of Confluent's REST API.",
        )

    def _read(self, answer: requests.Response, read: Callable[[Any], T]) -> T:
        """Return what *read* finds in the answer. A proxy, or another server, may answer 200 and anything."""
        try:
            if answer.status_code == 200:
                found = read(answer.json())
                self._worked.add(str(answer.request.method))
                return found
        except (ValueError, KeyError, TypeError):
            pass
        raise self._refusal(
            str(answer.request.method),
            f"the schema registry at {self._url} answers {answer.status_code} to {answer.request.method} "
            f"{answer.request.path_url}: {_said(answer)}. Check that schema_registry.url is the root of Confluent's REST API.",
        )


class _Bearer(AuthBase):
    """Not a header of the session: requests would replace that by what ~/.netrc has for this host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _check_files(ca_file: str | None, certificate: tuple[str, str] | None) -> None:
    if ca_file is not None and not Path(ca_file).is_file():
        raise SetupError(f"schema_registry.ca_file: the file {ca_file} does not exist. Correct the path.")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError:  # ssl.SSLError is one
        raise SetupError(
            f"schema_registry.ca_file: {ca_file} has no certificate that can be read. Name the PEM file of "
            f"the authority."
        ) from None
    if certificate is not None:
        try:
            context.load_cert_chain(*certificate)
        except OSError as error:
            raise SetupError(
                f"schema_registry.certificate_file and key_file: {certificate[0]} and {certificate[1]} cannot be used "
                f"({error.strerror or error.args[-1]}). Name the PEM files of a certificate and of its key, without a password."
            ) from None


def _text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, separators=(",", ":"))


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _id_in(body: Any) -> int:
    """Return the id in the body of an answer. Raises KeyError, TypeError or ValueError if there is none."""
    if type(body["id"]) is not int:
        raise TypeError
    return int(body["id"])


def _schema_in(body: Any) -> dict[str, Any]:
    """Return the schema in the body of an answer. Raises KeyError, TypeError or ValueError if there is none."""
    schema: dict[str, Any] = json_in(body["schema"])
    return schema


def _code_of(answer: requests.Response) -> int | None:
    """Return the registry's own error code, if there is one."""
    try:
        body = answer.json()
    except ValueError:
        return None
    code = body.get("error_code") if isinstance(body, dict) else None
    return code if isinstance(code, int) else None


def _said(answer: requests.Response) -> str:
    """Return the registry's own message. It may contain parts of schemas, but never of records."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
