"""`python -m ueagent`."""

import sys

from ueagent.cli.commands import main

sys.exit(main())
