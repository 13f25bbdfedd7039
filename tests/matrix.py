"""Runs the interop matrix; see support/matrix.py. `tests/run --matrix` installs first."""

import sys

from support.matrix import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
