"""
How many files a process may have open. Merge has six for each partition that it holds: a large sync needs more than the 1,024 that many systems
give a process unasked.
"""

from __future__ import annotations

import resource

import structlog

log = structlog.get_logger(__name__)


def allow_all() -> int:
    """
    Raise this process's limit to the highest that it may set itself, and return it.

    Only programs that use select() need the low one, and none of our libraries does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.info("open_files_not_raised", allowed=soft, reason=str(error))
            return soft
    return hard
