"""Write the reference project's sample documents to the folder that is named."""

import sys
from pathlib import Path

from docket.samples import write_samples

write_samples(Path(sys.argv[1]))
