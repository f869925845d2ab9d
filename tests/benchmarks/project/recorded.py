"""The ledger of this worker's side."""

import os
from pathlib import Path

from ledger import Ledger

record = Ledger(Path(os.environ["BENCH_LEDGER"])).record
