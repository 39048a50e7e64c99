"""
Whether a whole object is read by REST or by Bulk API 2.0: what costs fewer API calls. Pure.

Each call of either counts as one of the org's daily API requests. By REST, a call gives 2,000 records, or takes two where the
fields do not fit a query's URL. By Bulk, a job has to be made, asked for until it is complete, and deleted; a call for its
results gives 10,000 records. So REST costs less up to about 26,000 records (half of that for wide objects), and is quicker there: its
first rows come at once. With a million records, it is 500 calls (or 1,000) against 140.
Sources: "API Request Limits and Allocations"; Bulk API 2.0 Developer Guide, "Query Jobs".
"""

from __future__ import annotations

from typing import Final

from salmon.salesforce.wire.rest import PAGE_ROWS

# Of one job: an expired job's rows are read again from the last that was reported, and the rows of one are as old as it is.
JOB_ROWS: Final = 250_000
RESULT_ROWS: Final = 10_000
# To make it, to ask for it (after 1, 2, 4, ... up to 30 s: about two minutes), and to delete it.
JOB_CALLS: Final = 10


def bulk_is_cheaper(records: int, *, wide: bool) -> bool:
    """Whether to read so many records by Bulk. *wide*: whether a page of REST takes two calls."""
    return bulk_calls(records) < rest_calls(records, wide=wide)


def window_is_cheaper(stamped: int, records: int, *, wide: bool, by_bulk: bool) -> bool:
    """Whether to read by REST the *stamped* records that have changed, and not all *records*, by REST or (*by_bulk*) by Bulk."""
    whole = rest_calls(records, wide=wide)
    return rest_calls(stamped, wide=wide) <= (min(whole, bulk_calls(records)) if by_bulk else whole)


def rest_calls(records: int, *, wide: bool) -> int:
    """The calls that REST takes."""
    return _pages(records, PAGE_ROWS) * (2 if wide else 1)


def bulk_calls(records: int) -> int:
    """The calls that Bulk takes."""
    return _pages(records, JOB_ROWS) * JOB_CALLS + _pages(records, RESULT_ROWS)


def _pages(records: int, size: int) -> int:
    return max(1, -(-records // size))
