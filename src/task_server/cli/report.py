"""What `demo` shows: progress of both queues, then a table and a summary."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

#: The state of a document that was read; any other names the problem.
READ = "done"


class Report:
    """Shows the events of docket's `ingest --json-lines` on *console*."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._fetch = self.bars.add_task("io_bound  fetch", total=None, visible=False)
        self._read = self.bars.add_task("celery    read", total=None, visible=False)

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the bars; further output goes below them."""
        self.bars.stop()

    def say(self, text: str) -> None:
        """Print *text* above the bars."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, event: dict[str, Any]) -> None:
        """Move the bars to the counts in *event*."""
        jobs = event["jobs"]
        fetched = event.get("fetched", event.get("fetch_tasks", 0))
        read = event.get("read", event.get("read_tasks", 0))
        # A document that could not be fetched is never read.
        ended = event.get("ended", 0)
        self.bars.update(self._fetch, total=jobs, completed=max(fetched, ended), visible=True)
        self.bars.update(self._read, total=jobs, completed=max(read, ended), visible=True)

    def show(self, result: dict[str, Any]) -> None:
        """Print the table of documents and the summary of *result*."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("document", overflow="fold")
        table.add_column("pages", justify="right")
        table.add_column("words", justify="right")
        table.add_column("state", overflow="fold")
        for document in result["documents"]:
            read = document["state"] == READ
            state = Text(document["state"], style="green" if read else "yellow")
            if not read:
                state.append(f": {document['error']}")
            table.add_row(
                Text(document["name"]),
                _number(document["pages"]),
                _number(document["words"]),
                state,
            )
        self.console.print()
        self.console.print(table)
        unread = sum(document["state"] != READ for document in result["documents"])
        rest = f" ({unread} could not be read)" if unread else ""
        self.say(
            f"\n{len(result['documents'])} documents{rest}, {result['fetch_tasks']} tasks on "
            f"io_bound, {result['read_tasks']} on celery, {result['seconds']:.1f} s, "
            f"{result['tasks_per_second']:.1f} tasks/s"
        )
        if result["extra_runs"]:
            self.say(f"{result['extra_runs']} tasks ran more than once")


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
