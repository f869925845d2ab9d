"""The app of `marks` in a Django project; its task leaves its mark in PostgreSQL."""

import os
import time

os.environ["DJANGO_SETTINGS_MODULE"] = "pg_settings"

from django.db import InterfaceError, OperationalError, connection
from marks import app

LANE = os.path.basename(os.environ["PROJ_LOG"])  # noqa: PTH119 - nothing more is imported than must be


# Late acknowledgement is no cure for an exception: a task that a lost
# database ends has run. It must ask for another run itself.
@app.task(autoretry_for=(OperationalError, InterfaceError), max_retries=None, default_retry_delay=1)
def note(number: int, seconds: float) -> None:
    """Take *seconds* in the database, and leave a mark there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])
        cursor.execute("INSERT INTO marks VALUES (%s, %s, %s)", [LANE, number, time.monotonic()])
