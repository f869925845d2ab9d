"""``docket search WORDS``: full-text search in the documents that were read."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.postgres.search import SearchHeadline, SearchQuery, SearchRank
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.models import F

from docket.jobs import SEARCH_CONFIG
from docket.models import Document
from docket.terminal import printable
from task_server.errors import PeerError

# Where PostgreSQL marks a match. These occur in no text that is printed.
_START, _STOP = "\x02", "\x03"

NO_MATCH = 1


class Command(BaseCommand):
    """Search the text of the documents."""

    help = "Search the documents' text. Exit 1 if nothing matches."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "words",
            nargs="+",
            metavar="WORDS",
            help='as in a web search: two words, "a phrase", or, -without',
        )
        parser.add_argument(
            "--limit", type=int, default=10, metavar="N", help="documents to show (default 10)"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Print the best matches, or say that there is none."""
        words = " ".join(options["words"])
        if options["limit"] < 1:
            raise CommandError("--limit: give 1 or more", returncode=2)
        try:
            found = list(matches(words)[: options["limit"]])
        except DatabaseError as error:
            reason = str(error).strip().partition("\n")[0]
            message = f"PostgreSQL: {reason}"
            raise CommandError(message, returncode=PeerError.exit_code) from error
        if not found:
            self.stdout.write(f"no match for {words}")
            sys.exit(NO_MATCH)
        for document in found:
            pages = "1 page" if document.pages == 1 else f"{document.pages} pages"
            self.stdout.write(f"{printable(document.name)} ({pages})")
            self.stdout.write(f"  {self._marked(document.headline)}")

    def _marked(self, headline: str) -> str:
        bold = ("\x1b[1m", "\x1b[0m") if self.stdout.isatty() else ("*", "*")
        return (
            printable(headline, keep=_START + _STOP)
            .replace(_START, bold[0])
            .replace(_STOP, bold[1])
        )


def matches(words: str) -> Any:
    """Return the documents that match *words*, best first, each with its `headline`."""
    query = SearchQuery(words, search_type="websearch", config=SEARCH_CONFIG)
    headline = SearchHeadline(
        "text",
        query,
        config=SEARCH_CONFIG,
        start_sel=_START,
        stop_sel=_STOP,
        max_fragments=2,
        fragment_delimiter=" … ",
        max_words=25,
        min_words=10,
    )
    return (
        Document.objects.filter(search=query)
        .annotate(rank=SearchRank(F("search"), query), headline=headline)
        .defer("text", "search")
        .order_by("-rank", "pk")
    )
