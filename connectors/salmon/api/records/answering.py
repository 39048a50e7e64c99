"""What the routes of the objects do: reads a request, calls what blocks in threads, and makes the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote, urlencode

import structlog
from bson.objectid import ObjectId
from fastapi import Request
from fastapi.responses import JSONResponse, Response

from salmon.api.grants import Caller
from salmon.api.handle import Api, ApiObject
from salmon.api.problems import Fault, Problem, at_fault
from salmon.api.records import checking, idempotency, refusing, writing
from salmon.api.records.asking import SYNCED, Listing, Prefers, bounded, gathered, time_bound_ms
from salmon.api.records.bodies import Models, faults_in, parsed
from salmon.api.records.matching import RECORD_ID, RECORD_KEY
from salmon.api.records.paging import cursor_of
from salmon.api.records.selecting import Selection, selection_of
from salmon.api.records.showing import all_shown, etag_of, key_shown, shown
from salmon.api.records.writing import Conditions
from salmon.api.settling import IN_STEP, REFUSED, Settled, Waiter
from salmon.api.threads import in_thread
from salmon.errors import RetriableError
from salmon.mongodb.wire.client import Document, border

log = structlog.get_logger(__name__)

UNCHANGED: Final = -1
FAULTS_MAX: Final = 50  # of one record
_READ: Final = frozenset({"record", "etag"})  # of a result: only for those who may read
_REPLAYED: Final = {"Idempotency-Replayed": "true"}


@dataclass(frozen=True)
class Objects:
    """The requests of one object's routes."""

    api: Api
    of: ApiObject
    models: Models
    path: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", f"/api/v1/{self.of.name}")

    # Reading.

    async def read_all(self, request: Request, caller: Caller) -> Response:
        asked = Listing.of(self.api, self.of, request, caller)
        prefers = Prefers.of(request)

        def work() -> Response:
            # Both in one thread: a page of thousands takes its time, in which the event loop would serve nobody.
            documents, count = asked.read(prefers.count)
            more = len(documents) > asked.limit
            documents = documents[: asked.limit]
            headers: dict[str, str] = {}
            if more and (cursor := cursor_of(asked.order, documents[-1])) is not None:
                others = [(n, v) for n, v in request.query_params.multi_items() if n != "cursor"]
                following = urlencode([*others, ("cursor", cursor)])
                headers["Link"] = f'<{self.path}?{following}>; rel="next"'
            if count is not None:
                headers |= {
                    "Content-Range": f"items */{count}",
                    "Preference-Applied": f"count={prefers.count}",
                }
            records = all_shown(asked.selection, documents, self.api.settling.waits)
            return JSONResponse(records, headers=headers)

        return await in_thread(work)

    async def read(self, request: Request, key: str, caller: Caller) -> Response:
        for name in request.query_params:
            if name != "select":
                raise at_fault(ascii(name[:80])[1:-1], "unknown-parameter", "one record takes `select` alone")
        selection = selection_of(self.api, self.of, request.query_params.get("select"), caller)
        known = _etags(request.headers.get("if-none-match", ""))

        def work() -> Response:
            document, embedding = self._read_one(key, selection)
            etag = etag_of(self.of, document)
            if etag in known:
                return Response(status_code=304, headers={"ETag": etag})
            record = shown(selection, embedding, self.api.settling.waits)
            return JSONResponse(record, headers={"ETag": etag})

        return await in_thread(work)

    def _read_one(self, key: str, selection: Selection) -> tuple[Document, Document]:
        document = writing.require_found(writing.found(self.api, self.of, key))
        if not selection.embedded:
            return document, document
        pipeline = gathered(self.of.settings.places, {"_id": document["_id"]}, {"_id": 1}, 1)
        pipeline += selection.stages(self.api)
        with border("reading a record"):
            for first, *_ in writing.looks(self.api, self.of):
                batches = first.aggregate_raw_batches(pipeline, maxTimeMS=time_bound_ms(self.api))
                if found := bounded(batches, first.codec_options, selection):
                    return document, found[0]
        return document, writing.require_found(None)

    # Writing.

    async def post(self, request: Request, caller: Caller) -> Response:
        body = await request.body()
        key = request.headers.get("idempotency-key")
        if key is None:
            return await self._posted(request, caller, body, None)
        once = await in_thread(idempotency.begin, self.api, caller, self.path, key, body)
        if isinstance(once, idempotency.Answer):
            return self._replayed(caller, once)
        changed = True
        try:
            answer = await self._posted(request, caller, body, once)
        except Problem as problem:
            answer, changed = problem.response(), problem.code == refusing.CODE
        except BaseException:
            await in_thread(once.release)
            raise
        kept = {name: text for name, text in answer.headers.items() if name != "content-length"}
        if changed and answer.status_code < 500:
            await in_thread(once.done, idempotency.Answer(answer.status_code, kept, bytes(answer.body)))
        else:
            await in_thread(once.release)
        return answer

    def _replayed(self, caller: Caller, answer: idempotency.Answer) -> Response:
        """An earlier answer once more. A caller that may not read any longer is not shown what it was shown then."""
        headers, body = dict(answer.headers), answer.body
        if answer.status < 300 and not self._shows(caller):
            headers = {name: text for name, text in headers.items() if name not in {"etag", "content-type"}}
            if answer.status == 207:
                results = json.loads(body or b"[]")
                kept = [{n: v for n, v in each.items() if n not in _READ} for each in results]
                return JSONResponse(kept, answer.status, {**headers, **_REPLAYED})
            body = b""
        if answer.status == 422 and not self._shows(caller):
            body = refusing.without_words(body)
        return Response(body, answer.status, {**headers, **_REPLAYED})

    async def _posted(
        self, request: Request, caller: Caller, body: bytes, once: idempotency.Once | None
    ) -> Response:
        given = parsed(body, request.headers.get("content-type", ""))
        if isinstance(given, list):
            return await self._posted_all(request, caller, given, once)
        prefers = Prefers.of(request)

        def work() -> tuple[Document, int]:
            (values,), (faults,) = self._checked(caller, [given], [None], creating=True)
            _raise_any(faults)
            clock = writing.clock_of(self.api)
            document_id = ObjectId() if once is None else once.document_id(0)
            try:
                return writing.create(self.api, self.of, values, document_id), clock
            except Problem as problem:
                earlier = writing.found_by_id(self.api, self.of, document_id)
                if once is None or problem.code != "exists" or earlier is None:
                    raise
                return earlier, clock  # created by the same request, whose process was killed then

        self._require_writable()
        document, clock = await in_thread(work)
        return await self._written(caller, "create", document, clock, prefers, status=201, given=given)

    async def put(self, request: Request, key: str, caller: Caller) -> Response:
        """Replace a record: what is not given is cleared. One that does not exist is created."""
        if not any(caller.may(verb, self.of.name) for verb in ("create", "update")):
            self._require(caller, "update")  # before anything says whether the record exists
        given, prefers, conditions = await self._read_body(request)

        def work() -> tuple[Document, int, bool]:
            before = writing.found(self.api, self.of, key)
            conditions.check(self.of, before)
            creating = before is None
            self._require(caller, "create" if creating else "update")
            (values,), (faults,) = self._checked(caller, [given], [before], creating=creating)
            _raise_any(faults)
            if before is None:
                clock = writing.clock_of(self.api)
                return writing.create(self.api, self.of, values, writing.id_for(key)), clock, True
            by_name = self.of.schema.by_name
            rest = {n: None for n in self.of.settable(creating=False) - values.keys() if by_name[n].nillable}
            missing = [n for n in self.of.settable(creating=False) - values.keys() if by_name[n].required]
            _raise_any(
                [Fault(n, "required", "is required: a replacement has all fields") for n in sorted(missing)]
            )
            held = writing.held_by(self.of, before)
            cleared = {name: None for name in rest if held.get(name) is not None}
            return (*self._changed(before, {**values, **cleared}, conditions), False)

        document, clock, created = await in_thread(work)
        verb, status = ("create", 201) if created else ("update", 200)
        return await self._written(caller, verb, document, clock, prefers, status=status, given=given)

    async def patch(self, request: Request, key: str, caller: Caller) -> Response:
        given, prefers, conditions = await self._read_body(request)

        def work() -> tuple[Document, int]:
            before = writing.require_found(writing.found(self.api, self.of, key))
            conditions.check(self.of, before)
            (values,), (faults,) = self._checked(caller, [given], [before], creating=False)
            _raise_any(faults)
            return self._changed(before, values, conditions)

        document, clock = await in_thread(work)
        return await self._written(caller, "update", document, clock, prefers, status=200, given=given)

    async def delete(self, request: Request, key: str, caller: Caller) -> Response:
        self._require_writable()
        prefers, conditions = Prefers.of(request), Conditions.of(request)

        def work() -> tuple[Document, int]:
            before = writing.require_found(writing.found(self.api, self.of, key))
            conditions.check(self.of, before)
            clock = writing.clock_of(self.api)
            writing.delete(self.api, self.of, before, conditions)
            return before, clock

        document, clock = await in_thread(work)
        return await self._written(caller, "delete", document, clock, prefers, status=204, given={})

    async def patch_all(self, request: Request, caller: Caller) -> Response:
        """Change several records, each named by its `_key` or `Id`."""
        self._require_writable()
        given = parsed(await request.body(), request.headers.get("content-type", ""))
        self._require_list(given, caller)

        def one(each: Any) -> dict[str, Any]:
            if not isinstance(each, dict) or not isinstance(
                key := each.get(RECORD_KEY, each.get(RECORD_ID)), str
            ):
                raise at_fault(RECORD_KEY, "required", "each record is named by its _key or Id", status=422)
            rest = {name: value for name, value in each.items() if name not in {RECORD_KEY, RECORD_ID}}
            before = writing.require_found(writing.found(self.api, self.of, key))
            (values,), (faults,) = self._checked(caller, [rest], [before], creating=False)
            _raise_any(faults)
            document, clock = self._changed(before, values, Conditions())
            self._note(caller, "update", document, clock, rest)
            return self._result(caller, 200, document)

        def work() -> Response:
            return JSONResponse([_outcome(one, each) for each in given], status_code=207)

        return await in_thread(work)

    async def _posted_all(
        self, request: Request, caller: Caller, given: Sequence[Any], once: idempotency.Once | None
    ) -> Response:
        self._require_writable()
        self._require_list(given, caller)

        def work() -> list[dict[str, Any]]:
            results: list[dict[str, Any]] = [{} for _ in given]
            values, faults = self._checked(caller, given, [None] * len(given), creating=True)
            good = [n for n, wrong in enumerate(faults) if not wrong]
            for n, wrong in enumerate(faults):
                if wrong:
                    results[n] = {"status": 422, "problem": _unfit(wrong).body()}
            clock = writing.clock_of(self.api)
            ids = [ObjectId() if once is None else once.document_id(n) for n in good]
            done = writing.create_all(
                self.api, self.of, list(zip(ids, [values[n] for n in good], strict=True))
            )
            for n, document_id, each in zip(good, ids, done, strict=True):
                if isinstance(each, Problem) and once is not None and each.code == "exists":
                    each = writing.found_by_id(self.api, self.of, document_id) or each  # noqa: PLW2901 - see post()
                if isinstance(each, Problem):
                    results[n] = {"status": each.status, "problem": each.body()}
                else:
                    self._note(caller, "create", each, clock, given[n])
                    results[n] = self._result(caller, 201, each)
            return results

        return JSONResponse(await in_thread(work), status_code=207)

    # What these share.

    def _changed(
        self, before: Document, values: checking.Values, conditions: Conditions
    ) -> tuple[Document, int]:
        """Change a record; MongoDB's clock before that, or UNCHANGED. Blocks."""
        clock = writing.clock_of(self.api)
        document = writing.change(self.api, self.of, before, values, conditions)
        return document, UNCHANGED if etag_of(self.of, before) == etag_of(self.of, document) else clock

    async def _read_body(self, request: Request) -> tuple[Any, Prefers, Conditions]:
        self._require_writable()
        given = parsed(await request.body(), request.headers.get("content-type", ""))
        return given, Prefers.of(request), Conditions.of(request)

    def _checked(
        self, caller: Caller, given: Sequence[Any], before: Sequence[Document | None], *, creating: bool
    ) -> tuple[list[checking.Values], list[list[Fault]]]:
        """The values of bodies, and what is wrong with each."""
        model = self.models.creation if creating else self.models.edit
        values: list[checking.Values] = []
        faults: list[list[Fault]] = []
        for body, held in zip(given, before, strict=True):
            wrong = faults_in(self.of, model, body, creating=creating)
            found: checking.Values = {}
            if not wrong:
                found, wrong = checking.values_of(self.of, body)
            if not wrong:
                record = {} if held is None else writing.held_by(self.of, held)
                wrong = checking.dependents(self.of, found, record, reads=self._shows(caller))
            values.append({} if wrong else found)
            faults.append(wrong)
        unknown = checking.references(self.api, self.of, values, caller)
        return values, [[*wrong, *more] for wrong, more in zip(faults, unknown, strict=True)]

    async def _written(
        self,
        caller: Caller,
        verb: str,
        document: Document,
        clock: int,
        prefers: Prefers,
        *,
        status: int,
        given: Mapping[str, Any],
    ) -> Response:
        """The answer to a write. *clock*: of MongoDB before it; UNCHANGED: the record was so already, and nothing was written."""
        record = (self.of.name, key_shown(document["_id"]))
        if clock == UNCHANGED and record not in self.api.settling.waits:
            prefers = replace(prefers, synced=False)  # it is in step
        waiter = self.api.settling.expect(record, clock) if prefers.synced else None
        self._note(caller, verb, document, clock, given)
        try:
            settled = None if waiter is None else await self._settled(waiter, prefers)
        finally:
            if waiter is not None:
                self.api.settling.forget(waiter)
        headers = {"Preference-Applied": SYNCED} if settled is not None else {}
        if status == 201:
            headers["Location"] = f"{self.path}/{quote(record[1], safe='')}"
        again = document if settled is None else await in_thread(self._again, document)
        if settled is not None:
            undone = refusing.is_undone(self.of, verb, settled, document, again)
            faults = await refusing.faults_of(
                self.api,
                self.of,
                record[1],
                settled,
                clock,
                undone=undone,
                words=self._shows(caller) and not self.of.hidden,
            )
            if faults:
                raise refusing.problem_of(faults, record[1], headers, undone=undone)
        if prefers.synced and (settled is None or settled.state not in {IN_STEP, REFUSED}):
            status = 202  # REFUSED: an earlier write; this one was confirmed
        if verb == "delete":
            return Response(status_code=status, headers=headers)
        document = again or document
        if self._shows(caller):
            headers["ETag"] = etag_of(self.of, document)
        if prefers.minimal or not self._shows(caller):
            return Response(status_code=204 if status == 200 else status, headers=headers)
        return JSONResponse(
            shown(Selection(self.of), document, self.api.settling.waits), status_code=status, headers=headers
        )

    async def _settled(self, waiter: Waiter, prefers: Prefers) -> Settled | None:
        most = self.api.settings.wait_max_s
        return await waiter.wait(most if prefers.seconds is None else min(most, prefers.seconds))

    def _again(self, document: Document) -> Document | None:
        return writing.found_by_id(self.api, self.of, document["_id"])

    def _note(
        self, caller: Caller, verb: str, document: Document, clock: int, given: Mapping[str, Any]
    ) -> None:
        """One line for the audit, without values; and the record is on its way from now on."""
        key = key_shown(document["_id"])
        if clock != UNCHANGED:
            self.api.settling.written((self.of.name, key), clock)
        log.info(
            "api_write", caller=caller.name, verb=verb, object=self.of.name, key=key, fields=sorted(given)
        )

    def _shows(self, caller: Caller) -> bool:
        """Whether an answer may have the record, and the ETag, which is a print of it: writing alone does not allow reading."""
        return caller.may("read", self.of.name)

    def _result(self, caller: Caller, status: int, document: Document) -> dict[str, Any]:
        if not self._shows(caller):
            return {"status": status, "key": key_shown(document["_id"])}
        record = shown(Selection(self.of), document, self.api.settling.waits)
        return {
            "status": status,
            "key": record[RECORD_KEY],
            "etag": etag_of(self.of, document),
            "record": record,
        }

    def _require(self, caller: Caller, verb: str) -> None:
        if not caller.may(verb, self.of.name):
            raise Problem(403, "not-allowed", f"This needs the scope {self.of.name}:{verb}.")

    def _require_writable(self) -> None:
        if not self.of.is_writable:
            raise Problem(
                403,
                "one-way",
                f"{self.of.name} is only synced from Salesforce to MongoDB: edit it in Salesforce.",
            )

    def _require_list(self, given: Any, caller: Caller) -> None:
        most = self.api.settings.bulk_max
        if not isinstance(given, list) or not 0 < len(given) <= most:
            raise at_fault("body", "not-a-list", f"must be a list of 1 to {most} records (api.bulk_max)")
        self.api.access.count_records(caller, len(given))


def _etags(header: str) -> tuple[str, ...]:
    return tuple(part.strip().removeprefix("W/") for part in header.split(",") if part.strip())


def _raise_any(faults: Sequence[Fault]) -> None:
    if faults:
        raise _unfit(faults)


def _unfit(faults: Sequence[Fault]) -> Problem:
    """The first of the faults: an answer must not be many times as large as what was sent."""
    if (more := len(faults) - FAULTS_MAX) > 0:
        faults = [*faults[:FAULTS_MAX], Fault("body", "more-faults", f"has {more} more faults")]
    detail = "; ".join(f"{fault.field}: {fault.reason}" for fault in faults)
    return Problem(422, "does-not-fit", detail, faults=faults)


def _outcome(work: Any, each: Any) -> dict[str, Any]:
    try:
        result: dict[str, Any] = work(each)
    except Problem as problem:
        return {"status": problem.status, "problem": problem.body()}
    except RetriableError as error:  # of this record alone: what was done before it must be told
        return {"status": 503, "problem": Problem(503, "unavailable", str(error)).body()}
    return result
