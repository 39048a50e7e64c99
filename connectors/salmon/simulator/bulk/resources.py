"""
Bulk API 2.0 over REST: /jobs/ingest and /jobs/query, with everything below them.

Source: Bulk API 2.0 Developer Guide, "Reference"; the jobs' JSON as recorded. Headers for PK chunking are taken and have
no effect: Bulk API 2.0 chunks by itself.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from email import message_from_bytes
from email.policy import HTTP
from typing import Any, Final

from salmon.simulator.bulk import queries
from salmon.simulator.bulk.csv_text import DELIMITERS, LINE_ENDINGS, BadCsv, read, write
from salmon.simulator.bulk.jobs import CLOSED, Job, Jobs, Kind
from salmon.simulator.bulk.running import Runner
from salmon.simulator.org.objects.access_objects import DEFINITIONS, has_right
from salmon.simulator.org.org import Org
from salmon.simulator.org.refusals import BadRequest, not_found
from salmon.simulator.org.usage import BULK_BATCHES, QUERY_JOBS, QUERY_STORAGE_MB
from salmon.simulator.rest.web import Answer, Call

INGEST_OPERATIONS: Final = ("insert", "update", "upsert", "delete", "hardDelete")
QUERY_OPERATIONS: Final = ("query", "queryAll")
# "Bulk API and Bulk API 2.0 Limits and Allocations": 150 MB when encoded in base64; and of a multipart request.
UPLOAD_BYTES_MAX: Final = 150_000_000 * 3 // 4
MULTIPART_CHARS_MAX: Final = 100_000
RESULTS_PAGE: Final = 50_000

_CSV: Final = {"Content-Type": "text/csv; charset=UTF-8"}

Resources = Mapping[str, Callable[[Call], Answer]]


class BulkApi:
    """The jobs of one org, as REST shows them."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._jobs = Jobs(org)
        self._runner = Runner(org, self._jobs)

    def stop(self) -> None:
        """Let no job run on. Idempotent."""
        self._runner.stop()

    def resources(self, path: Sequence[str]) -> Resources:
        """The resources at *path* below /jobs, by method. Raises BadRequest (404) where there is none."""
        match path:
            case ["ingest"]:
                return {"GET": lambda call: self._list(call, "ingest"), "POST": self._create_ingest}
            case ["query"]:
                return {"GET": lambda call: self._list(call, "query"), "POST": self._create_query}
            case ["ingest" | "query" as kind, job_id]:
                return {
                    "GET": lambda _call: Answer(200, self._jobs.get(kind, job_id).info(full=True)),
                    "PATCH": lambda call: self._change_state(call, kind, job_id),
                    "DELETE": lambda _call: self._delete(kind, job_id),
                }
            case ["ingest", job_id, "batches"]:
                return {"PUT": lambda call: self._upload(call, job_id)}
            case ["ingest", job_id, name] if name.lower() in _INGEST_RESULTS:
                return {"GET": lambda _call: self._ingest_results(job_id, name.lower())}
            case ["query", job_id, "results"]:
                return {"GET": lambda call: self._query_results(call, job_id)}
        raise not_found()

    # Making jobs

    def _create_ingest(self, call: Call) -> Answer:
        content: bytes | None = None
        if call.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            call, content = _parts(call)
        body = call.json_object()
        operation = _choice(body, "operation", INGEST_OPERATIONS)
        object_name = self._org.object_name(str(body.get("object")))
        if object_name is None:
            raise BadRequest("INVALIDJOB", f"Unable to find object: {body.get('object')}")
        if body.get("contentType", "CSV") != "CSV":
            raise BadRequest("INVALIDJOB", "Bulk API 2.0 jobs take CSV only: contentType must be CSV")
        _check_supported(object_name)
        hard = operation == "hardDelete"
        if hard and not has_right(self._org.tables, call.user.user_id, "PermissionsBulkApiHardDelete"):
            message = (
                "hardDelete operation requires special user profile permission, please contact your system "
                "administrator"
            )
            raise BadRequest("FEATURENOTENABLED", message)
        external_id = self._external_id(object_name, operation, body.get("externalIdFieldName"))
        if self._org.usage.left(BULK_BATCHES) <= 0:
            raise BadRequest("EXCEEDEDQUOTA", "ApiBatchItems Limit exceeded.")
        job = self._new(call, "ingest", operation, object_name, body)
        job.external_id_field = external_id
        rule = body.get("assignmentRuleId")
        job.assignment_rule_id = rule if isinstance(rule, str) else None
        self._jobs.add(job)
        if content is None:
            return Answer(200, job.info(full=False))
        job.upload = content
        return self._close(job)

    def _create_query(self, call: Call) -> Answer:
        body = call.json_object()
        operation = _choice(body, "operation", QUERY_OPERATIONS)
        text = body.get("query")
        if not isinstance(text, str) or not text.strip():
            raise BadRequest("INVALIDJOB", "A query job needs a query")
        object_name, query = queries.check_query(self._org, text, call.user)
        _check_supported(object_name)
        usage = self._org.usage
        if usage.left(QUERY_JOBS) <= 0:
            allowed, used = usage.allowances[QUERY_JOBS], round(usage.spent(QUERY_JOBS))
            message = f"Max bulk v2 query jobs ({allowed}) per 24 hrs has been reached ({used})"
            raise BadRequest("LIMIT_EXCEEDED", message)
        if usage.left(QUERY_STORAGE_MB) <= 0:
            stored_kb = usage.allowances[QUERY_STORAGE_MB] * 1024
            message = f"Max bulk v2 query result size stored ({stored_kb}) kb per 24 hrs has been exceeded"
            raise BadRequest("LIMIT_EXCEEDED", message)
        job = self._new(call, "query", operation, object_name, body)
        job.soql, job.chunkable, job.state = text, queries.is_chunkable(query), "UploadComplete"
        usage.spend(QUERY_JOBS)
        self._jobs.add(job)
        answer = Answer(200, job.info(full=False))
        self._runner.start(job)
        return answer

    def _new(self, call: Call, kind: Kind, operation: str, object_name: str, body: Mapping[str, Any]) -> Job:
        client = call.option("Sforce-Call-Options", "client")
        now_ms = self._org.clock.now_ms()
        return Job(
            id=self._jobs.new_id(),
            kind=kind,
            operation=operation,
            object_name=object_name,
            user=call.user,
            version=call.version,
            change_origin=f"com/salesforce/api/bulkapi/{call.version}"
            + (f";client={client}" if client else ""),
            delimiter=_choice(body, "columnDelimiter", tuple(DELIMITERS), "COMMA"),
            line_ending=_choice(body, "lineEnding", tuple(LINE_ENDINGS), "LF"),
            created_ms=now_ms,
            modified_ms=now_ms,
        )

    def _external_id(self, object_name: str, operation: str, given: Any) -> str | None:
        if operation != "upsert":
            return None
        if not given:
            message = f"External ID was blank for {object_name}. An External ID must be specified for upsert."
            raise BadRequest("INVALIDJOB", message)
        field = self._org.types[object_name].field(str(given))
        if field is None or not (field.external_id or field.id_lookup or field.type == "id"):
            message = f"Field name provided, {given} does not match an External ID for {object_name}"
            raise BadRequest("INVALIDJOB", message)
        return field.name

    # What becomes of them

    def _upload(self, call: Call, job_id: str) -> Answer:
        job = self._jobs.get("ingest", job_id)
        if not call.headers.get("content-type", "").lower().startswith("text/csv"):
            raise BadRequest("UNSUPPORTED_MEDIA_TYPE", "Content-Type must be text/csv", status=415)
        if len(call.body) > UPLOAD_BYTES_MAX:
            message = f"Job data must not exceed {UPLOAD_BYTES_MAX} bytes (150 MB when encoded in base64)"
            raise BadRequest("REQUEST_BODY_TOO_LARGE", message, status=413)
        with self._jobs.changed:
            if job.upload is not None:
                message = (
                    f"Found multipe contents for job: <{job.id[:15]}>, please 'Close' / 'Abort' / 'Delete' the "
                    f"current Job then create a new Job and make sure you only do 'PUT' once on a given Job."
                )
                raise BadRequest("BULK_API_ERROR", message)
            if job.state != "Open":
                message = f"Uploading data to a Job that is {job.state} is not allowed"
                raise BadRequest("INVALIDJOBSTATE", message)
            job.upload = call.body
        return Answer(201)

    def _change_state(self, call: Call, kind: Kind, job_id: str) -> Answer:
        job, state = self._jobs.get(kind, job_id), call.json_object().get("state")
        if state == "Aborted":
            self._jobs.abort(job)
        elif state == "UploadComplete" and kind == "ingest":
            return self._close(job)
        else:
            allowed = "UploadComplete or Aborted" if kind == "ingest" else "Aborted"
            raise BadRequest("INVALIDJOBSTATE", f"The state of a Job can be set to {allowed} only")
        return Answer(200, job.info(full=False))

    def _close(self, job: Job) -> Answer:
        self._jobs.close(job)
        answer = Answer(200, job.info(full=False))  # before it begins
        self._runner.start(job)
        return answer

    def _delete(self, kind: Kind, job_id: str) -> Answer:
        self._jobs.delete(self._jobs.get(kind, job_id))
        return Answer(204)

    def _list(self, call: Call, kind: Kind) -> Answer:
        job_type = call.params.get("jobType")
        if job_type and job_type != {"ingest": "V2Ingest", "query": "V2Query"}[kind]:
            return Answer(200, {"done": True, "nextRecordsUrl": None, "records": []})
        jobs, next_locator = self._jobs.page(kind, call.params.get("queryLocator"))
        if call.params.get("concurrencyMode", "parallel").lower() != "parallel":
            jobs, next_locator = [], None
        keys = (
            "id", "operation", "object", "createdById", "createdDate", "systemModstamp", "state", "concurrencyMode",
            "contentType", "apiVersion", "contentUrl", "jobType", "lineEnding", "columnDelimiter",
        )  # fmt: skip
        infos = [job.info(full=True) for job in jobs]
        records = [{key: info[key] for key in keys if key in info} for info in infos]
        url = None
        if next_locator is not None:
            url = f"/services/data/v{call.version}/jobs/{kind}?queryLocator={next_locator}"
        return Answer(200, {"done": url is None, "nextRecordsUrl": url, "records": records})

    # Results

    def _ingest_results(self, job_id: str, name: str) -> Answer:
        job = self._jobs.get("ingest", job_id)
        with self._jobs.changed:
            _check_ended(job)
            header, rows = job.header, job.rows
            if not header and job.upload is not None:
                # It was aborted before it began, or could not be read.
                try:
                    header, rows = read(job.upload, job.delimiter, job.line_ending)
                except BadCsv:
                    header, rows = (), ()
            if name == "unprocessedrecords":
                return self._csv(job, header, rows[job.processed :])
            if name == "successfulresults":
                return self._csv(job, ("sf__Id", "sf__Created", *header), job.succeeded_rows)
            return self._csv(job, ("sf__Id", "sf__Error", *header), job.failed_rows)

    def _query_results(self, call: Call, job_id: str) -> Answer:
        job = self._jobs.get("query", job_id)
        if call.version != job.version:
            message = f"The job was made with API version {job.version}; use it for its results too"
            raise BadRequest("CONFLICT", message, status=409)
        with self._jobs.changed:
            _check_ended(job)
            if job.state != "JobComplete":
                raise BadRequest("INVALIDJOBSTATE", f"A Job that is {job.state} has no results")
        wanted = call.params.get("maxRecords", str(RESULTS_PAGE))
        if not wanted.isdigit() or int(wanted) < 1:
            raise BadRequest("INVALID_PARAMETER_VALUE", "maxRecords must be a whole number of at least 1")
        start = _start_of(call.params.get("locator"), len(job.rows))
        end = min(start + int(wanted), len(job.rows))
        answer = self._csv(job, job.header, job.rows[start:end])
        paging = {
            "Sforce-NumberOfRecords": str(end - start),
            "Sforce-Locator": _locator_of(end) if end < len(job.rows) else "null",
        }
        return replace(answer, headers={**answer.headers, **paging})

    def _csv(self, job: Job, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Answer:
        return Answer(200, write(header, rows, job.delimiter, job.line_ending), _CSV)


_INGEST_RESULTS: Final = frozenset({"successfulresults", "failedresults", "unprocessedrecords"})


def _check_supported(object_name: str) -> None:
    if object_name in DEFINITIONS:
        raise BadRequest("INVALIDENTITY", f"Entity '{object_name}' is not supported by the Bulk API.")


def _check_ended(job: Job) -> None:
    if job.state not in CLOSED:
        raise BadRequest("JOB_NOT_COMPLETE", f"The job is {job.state}: there are no results yet")


def _choice(body: Mapping[str, Any], name: str, allowed: Sequence[str], default: str | None = None) -> str:
    value = body.get(name, default)
    if value not in allowed:
        raise BadRequest(
            "JSON_PARSER_ERROR",
            f"{name} must be one of {', '.join(allowed)}, not {json.dumps(value)}",
        )
    return str(value)


def _locator_of(row: int) -> str:
    """The number of the next row, in base64 without padding, as real locators are."""
    return base64.b64encode(str(row).encode()).decode().rstrip("=")


def _start_of(locator: str | None, total: int) -> int:
    if not locator:
        return 0
    try:
        start = int(base64.b64decode(locator + "=" * (-len(locator) % 4), validate=True))
    except ValueError:
        start = -1
    if not 0 < start < total:
        raise BadRequest("INVALID_QUERY_LOCATOR", "invalid query locator")
    return start


def _parts(call: Call) -> tuple[Call, bytes]:
    """The job and the CSV of a multipart request ("Create a Job": both at once, for a small upload)."""
    kind = call.headers.get("content-type", "")
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + call.body, policy=HTTP)
    parts: dict[str, bytes] = {}
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        parts[str(name)] = payload if isinstance(payload, bytes) else b""
    if set(parts) != {"job", "content"}:
        raise BadRequest("INVALIDJOB", "A multipart request has two parts, job and content")
    if len(parts["content"].decode("utf-8", "replace")) > MULTIPART_CHARS_MAX:
        message_text = f"The content of a multipart request must not exceed {MULTIPART_CHARS_MAX} characters"
        raise BadRequest("REQUEST_BODY_TOO_LARGE", message_text, status=413)
    return replace(call, body=parts["job"]), parts["content"]
