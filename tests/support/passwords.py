"""No password that a test uses may stand in a log: of the test's own process, or of a worker."""

from collections.abc import Iterator

import pytest

#: Those that tests use and that no other text of a log contains.
PASSWORDS = ("hunter2", "hunter3", "sesame", "the-right-one", "wrong-and-secret")


def found_in(text: str) -> set[str]:
    """Return the passwords that *text* has."""
    return {one for one in PASSWORDS if one in text}


@pytest.fixture(autouse=True)
def no_password_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test: what this process logged names no password."""
    yield
    logged = (record.getMessage() for record in caplog.get_records("call"))
    assert set() == found_in("\n".join(logged))
