"""
Playing many seeds on all cores: told in order, with a bound on what is begun.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TYPE_CHECKING, Final

from support.proof.mutants import Mutant, put_in_force

if TYPE_CHECKING:
    from support.proof.playing import Played

SEEDS_A_CHUNK: Final = 25
CHUNKS_AHEAD: Final = 4  # for each process


def cores() -> int:
    """The cores that are ours."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def played(
    seeds: range, *, jobs: int, mutant: Mutant | None = None, enough: Callable[[], bool] = lambda: False
) -> Iterator[Played]:
    """
    Play *seeds* in *jobs* processes; what each chunk came to, in the seeds' order.

    Once *enough*, nothing more is begun; what is begun is played to its end, and told.
    """
    # Processes of their own, not forks: a mutant must be in force before anything of the product is imported.
    context = multiprocessing.get_context("spawn")
    chunks = (seeds[at : at + SEEDS_A_CHUNK] for at in range(0, len(seeds), SEEDS_A_CHUNK))
    begun: deque[Future[Played]] = deque()
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(mutant,)) as pool:
        try:
            while True:
                while len(begun) < CHUNKS_AHEAD * jobs and not enough():
                    if (chunk := next(chunks, None)) is None:
                        break
                    begun.append(pool.submit(_play_all, chunk))
                if not begun:
                    return
                yield begun.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(mutant: Mutant | None) -> None:
    """A process begins: Ctrl-C is its parent's, and a rule may be broken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if mutant is not None:
        put_in_force(mutant)


def _play_all(seeds: range) -> Played:
    from support.proof.playing import play_all  # not before a rule may be broken

    return play_all(seeds)
