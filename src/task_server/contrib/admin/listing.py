"""A table of rows that are no query: searched, filtered, sorted and in pages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from django.core.paginator import Page, Paginator
from django.http import QueryDict
from django.utils.text import capfirst

from task_server.contrib.admin.text import short, visible

#: Rows of a page, as of Django's own lists.
ROWS: Final = 100

#: Parameters of the address, as of Django's own lists.
SEARCH, ORDER, PAGE = "q", "o", "p"

#: Choices of one filter: more are found by searching.
CHOICES: Final = 30

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """
    One column.

    Attributes:
        key: What it is sorted by, None if it is not; the values of a column are alike.

        is_number: Stands at the right, and the largest is first.
    """

    name: str
    title: Any
    key: Callable[[T], Any] | None = None
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Filter(Generic[T]):
    """
    One filter.

    Attributes:
        choices: Values, each with its title; unset, those that rows have.

        of: The values of a row: it is kept if the chosen one is among them.
    """

    name: str
    title: Any
    of: Callable[[T], Sequence[str]]
    choices: Sequence[tuple[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Heading:
    """A column as a page shows it."""

    name: str
    title: Any
    is_number: bool
    url: str
    direction: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice of a filter as a page shows it."""

    title: Any
    url: str
    is_selected: bool


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """The rows that a request asks for, and what the page says around them."""

    page: Page[T]
    total: int
    headings: Sequence[Heading]
    filters: Sequence[tuple[Any, Sequence[Choice]]]
    query: str
    kept: Sequence[tuple[str, str]]
    is_filtered: bool
    clear: str
    pages: Sequence[tuple[Any, str]]


def listing(
    rows: Sequence[T],
    asked: QueryDict,
    *,
    columns: Sequence[Column[T]],
    filters: Sequence[Filter[T]] = (),
    text: Callable[[T], str],
    order: str = "",
    rows_of_page: int = ROWS,
) -> Listing[T]:
    """
    Return what the parameters *asked* choose of *rows*.

    Args:
        text: What of a row is searched, each word for itself.

        order: The column, with - before it downwards, that rows are sorted by unless asked.
    """
    given = given_in(asked)
    words = given.get(SEARCH, "").lower().split()
    found = [row for row in rows if all(word in text(row).lower() for word in words)]
    for one in filters:
        if wanted := given.get(one.name, ""):
            found = [row for row in found if wanted in one.of(row)]
    chosen = given.get(ORDER, order)
    page = Paginator(_sorted(found, columns, chosen), rows_of_page).get_page(given.get(PAGE))
    return around(
        page,
        given,
        total=len(rows),
        headings=[_heading(one, chosen, given) for one in columns],
        choices=[(one.name, one.title, _choices(one, rows)) for one in filters],
    )


def around(
    page: Page[T],
    given: Mapping[str, str],
    *,
    total: int,
    headings: Sequence[Heading],
    choices: Sequence[tuple[str, Any, Sequence[tuple[str, Any]]]],
) -> Listing[T]:
    """
    Return *page* with what is around it.

    Args:
        given: The parameters.

        total: How many rows there are in all.

        choices: Of each filter its name, its title, and values with their titles.
    """
    names = [name for name, _, _ in choices]
    shown = [(title, _shown(name, values, given)) for name, title, values in choices if values]
    return Listing(
        page=page,
        total=total,
        headings=headings,
        filters=shown,
        query=visible(given.get(SEARCH, "")),
        kept=[(name, visible(given[name])) for name in (*names, ORDER) if name in given],
        is_filtered=any(given.get(name) for name in (*names, SEARCH)),
        clear=_url(given, **dict.fromkeys([*names, SEARCH, PAGE], "")),
        pages=list(_pages(page, given)),
    )


def given_in(asked: QueryDict) -> dict[str, str]:
    """Return the parameters *asked*."""
    return {name: str(value) for name, value in asked.items()}


def _choices(one: Filter[T], rows: Sequence[T]) -> Sequence[tuple[str, Any]]:
    if one.choices:
        return [(value, capfirst(title)) for value, title in one.choices]
    found = sorted({value for row in rows for value in one.of(row) if value})
    return [(value, short(value)) for value in found[:CHOICES]]


def _shown(name: str, choices: Sequence[tuple[str, Any]], given: Mapping[str, str]) -> list[Choice]:
    return [
        Choice(title, _url(given, **{name: value, PAGE: ""}), value == given.get(name, ""))
        for value, title in [("", None), *choices]
    ]


def _sorted(rows: list[T], columns: Sequence[Column[T]], chosen: str) -> list[T]:
    name = chosen.removeprefix("-")
    for one in columns:
        if one.name == name and one.key is not None:
            key = one.key
            known = [(value, row) for row in rows if (value := key(row)) is not None]
            known.sort(key=lambda pair: pair[0], reverse=chosen.startswith("-"))
            # What is not known is last in either direction.
            return [row for _, row in known] + [row for row in rows if key(row) is None]
    return rows


def _heading(one: Column[T], chosen: str, given: Mapping[str, str]) -> Heading:
    url = direction = ""
    if one.key is not None:
        up, down = one.name, f"-{one.name}"
        direction = {up: "ascending", down: "descending"}.get(chosen, "")
        first, second = (down, up) if one.is_number else (up, down)
        url = _url(given, **{ORDER: second if chosen == first else first, PAGE: ""})
    return Heading(one.name, one.title, one.is_number, url, direction)


def _pages(page: Page[Any], given: Mapping[str, str]) -> Iterator[tuple[Any, str]]:
    """Return numbers of pages, each with its address; that of this one and of a gap is empty."""
    if page.paginator.num_pages > 1:
        for number in page.paginator.get_elided_page_range(page.number):
            is_other = isinstance(number, int) and number != page.number
            yield number, _url(given, **{PAGE: str(number)}) if is_other else ""


def _url(given: Mapping[str, str], **changed: str) -> str:
    """Return the address of this list with the parameters *given*, but for those *changed*."""
    query = QueryDict(mutable=True)
    for name, value in {**given, **changed}.items():
        if value:
            # Half a surrogate has no address.
            query[name] = value.encode("utf-8", "replace").decode()
    return f"?{query.urlencode()}"
