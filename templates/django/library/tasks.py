from urllib.request import urlopen

from celery import shared_task


@shared_task
def fetch(url: str) -> int:
    """Return how many bytes *url* has."""
    with urlopen(url, timeout=10) as response:
        return len(response.read())


@shared_task
def add(x: int, y: int) -> int:
    return x + y
