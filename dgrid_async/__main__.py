"""`python -m dgrid_async` is the program `dgrid-async`."""

import sys

from dgrid_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
