"""``python -m ibjax`` is the command line."""

import sys

from ibjax.cli import main

sys.exit(main())
