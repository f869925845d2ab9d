"""What is wrong with the database of a scheduler, in one line."""

#: Classes, by their names, of what Django and its drivers raise.
_DATABASE = frozenset({"DatabaseError", "InterfaceError"})

_MISSING = ("no such table", "does not exist", "doesn't exist")


def database_fault(error: BaseException) -> str | None:
    """Return what *error* says of the database; None if it is about something else."""
    if not any(kind.__name__ in _DATABASE for kind in type(error).__mro__):
        return None
    lines = str(error).strip().splitlines()
    text = f"the database of the schedule cannot be used: {lines[0] if lines else '-'}"
    if is_missing_table(error):
        return f"{text}; run the project's migrations (manage.py migrate)"
    return f"{text}; start it, or correct DATABASES"


def is_missing_table(error: BaseException) -> bool:
    """Whether *error* is of a table that is not there."""
    return any(words in str(error) for words in _MISSING)
