"""Shows `salmon demo` while it runs: bars and a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from salmon.cli.terminal import console as terminal_console
from salmon.cli.terminal import table
from salmon.cli.verify import watcher
from salmon.demo.acts import Act
from salmon.demo.board import Board, Result
from salmon.harmless import harmless
from salmon.verify.verifying import Watcher

_BOARD_LINE_EVERY_S: Final = 5.0


class Lines:
    """For logs, pipes and scripts: one line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown_at = 0.0
        self._complete: set[str] = set()

    def scene(self, title: str) -> None:
        self._print(f"{title} ...")

    def loaded(self, done: Mapping[str, int], totals: Mapping[str, int]) -> None:
        for name, total in totals.items():
            if done.get(name, 0) >= total and name not in self._complete:
                self._complete.add(name)
                self._print(f"  {name}: all {total:,} records are in MongoDB")

    def board(self, board: Board) -> None:
        if time.monotonic() - self._shown_at < _BOARD_LINE_EVERY_S:
            return
        self._shown_at = time.monotonic()
        parts = [
            f"{each.name} {each.from_salesforce}+{each.from_mongodb} edits, {each.in_flight} in flight"
            + (f", p50 {_ms(each.p50_ms)} p99 {_ms(each.p99_ms)}" if each.p50_ms is not None else "")
            for each in board.objects
        ]
        self._print(f"  {'; '.join(parts)}; {board.api_calls:,} API calls")

    def act(self, act: Act) -> None:
        self._print(f"  {'ok' if act.passed else 'FAILED'}  {act.title}: {act.detail} ({act.took_s:.1f} s)")

    def comparing(self) -> AbstractContextManager[Watcher]:
        return watcher(shown=False)

    def ended(self, result: Result) -> None:
        for line in result.lines():
            self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


class Screen:
    """For people: bars while the first load runs, a table while both sides are edited, a tick for each act."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._live: Live | None = None

    def scene(self, title: str) -> None:
        self.close()
        self._console.print(f"[bold cyan]▸[/] {escape(title)}")

    def loaded(self, done: Mapping[str, int], totals: Mapping[str, int]) -> None:
        if self._bars is None:
            columns = (
                TextColumn("  {task.description:14}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
            self._tasks = {name: self._bars.add_task(name, total=total) for name, total in totals.items()}
        for name, count in done.items():
            self._bars.update(self._tasks[name], completed=count)

    def board(self, board: Board) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(table_of(board), refresh=True)

    def act(self, act: Act) -> None:
        mark = "[green]✓[/]" if act.passed else "[red]✗[/]"
        self._console.print(f"  {mark} {escape(act.title)} [dim]({act.took_s:.1f} s)[/]")
        self._console.print(Padding(f"[dim]{escape(harmless(act.detail))}[/]", (0, 0, 0, 4)))

    def comparing(self) -> AbstractContextManager[Watcher]:
        return watcher(shown=True)

    def ended(self, result: Result) -> None:
        self.close()
        style = "bold green" if result.proven else "bold red"
        for line in result.lines():
            self._console.print(f"[{style}]{'✓' if result.proven else '✗'}[/] {escape(line)}")

    def close(self) -> None:
        """Leave what is shown as it is; later output goes below it."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        if self._live is not None:
            self._live.stop()
            self._live = None


def table_of(board: Board) -> Table:
    """The live table."""
    left = f"; {board.left_s:.0f} s to go" if board.left_s else ""
    shown = table(
        caption=f"{board.api_calls:,} API calls by Salmon since its start{left}", caption_justify="left"
    )
    shown.add_column("object")
    headings = ("in sync", "in flight", "edits in Salesforce", "in MongoDB", "lag p50", "p99", "conflicts")
    for heading in headings:
        shown.add_column(heading, justify="right")
    for each in board.objects:
        shown.add_row(
            each.name,
            f"{each.in_step:,}",
            f"{each.in_flight:,}",
            f"{each.from_salesforce:,}",
            f"{each.from_mongodb:,}",
            _ms(each.p50_ms),
            _ms(each.p99_ms),
            f"{each.conflicts:,}",
        )
    return shown


@contextmanager
def audience_of(*, as_json: bool) -> Iterator[Lines | Screen]:
    """Return what shows the demo. With *as_json*, only the JSON object goes to standard output."""
    console = terminal_console(stderr=as_json)
    if as_json or not sys.stdout.isatty():
        yield Lines(console)
        return
    screen = Screen(console)
    try:
        yield screen
    finally:
        screen.close()


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} ms"
