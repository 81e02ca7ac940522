import sys

try:
    from minivan.cli import main

    status = main()
except KeyboardInterrupt:  # pressed while modules were still being imported
    status = 130
sys.exit(status)
