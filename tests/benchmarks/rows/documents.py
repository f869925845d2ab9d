"""A row of real work: the documents of docket, fetched, read, and indexed by PostgreSQL."""

import os
import sys
from pathlib import Path

from tests.benchmarks.crew import Crew

#: Court documents, which are not part of this repository; without them docket typesets some.
FOLDER = os.environ.get("TASK_SERVER_DOCUMENTS", "")


def documents(crew: Crew, count: int) -> dict[str, float]:
    """Measure `docket ingest` from its start until all documents, *count* times, are read."""
    sources = [FOLDER] if Path(FOLDER).is_dir() and FOLDER else ["--sample"]
    cpu = crew.cpu()
    seconds = crew.run(sys.executable, "-m", "docket", "ingest", *sources, f"--repeat={count}")
    return {"seconds": seconds, "spent": crew.cpu() - cpu, "memory": crew.pss() / 2**20}
