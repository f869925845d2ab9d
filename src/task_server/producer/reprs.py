"""What Celery writes of a task's arguments into its message, for those that are short and plain."""

from typing import Any, Final

#: Of these types `repr` is what Celery's saferepr gives.
_PLAIN: Final = frozenset({int, bool, float, type(None)})

#: So many arguments, and digits of them, are far from where Celery cuts.
_MOST: Final = 8
_LONGEST: Final = 64


def short_repr(value: Any) -> str | None:
    """
    Return what Celery's `saferepr` gives for *value*, a tuple, list or dictionary.

    None where that is not certain: Celery has to write it then.
    """
    kind = type(value)
    if kind not in (tuple, list, dict) or len(value) > _MOST:
        return None
    if kind is dict and not all(map(_is_short_text, value)):
        return None
    for each in value.values() if kind is dict else value:
        if type(each) not in _PLAIN and not _is_short_text(each):
            return None
        if type(each) is int and each.bit_length() > _LONGEST:
            return None
    return repr(value)


def _is_short_text(value: Any) -> bool:
    """Whether *value* is text that nothing has to be escaped in, or cut from."""
    if type(value) is not str or len(value) > _LONGEST:
        return False
    return value.isascii() and value.isprintable() and "'" not in value and "\\" not in value
