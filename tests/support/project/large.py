"""A project that is large before the pool is forked."""

from proj import HELD, app, started

BALLAST = [bytes([number % 251]) * 1024 for number in range(160_000)]


@app.task(name="proj.which")
def which(number):
    """Say which process runs it."""
    started(number)


@app.task(name="proj.grow")
def grow(number, mebibytes):
    """Say which process runs it, and keep *mebibytes* in it."""
    which(number)
    HELD.append(b"x" * (mebibytes << 20))
