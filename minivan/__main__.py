import sys

from minivan.cli import main

sys.exit(main())
