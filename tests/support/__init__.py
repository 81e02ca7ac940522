"""What tests share: networks, judges, files made on the spot, and where things lie in a checkout."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT / "tests" / "checkpoints"  # small files that the three libraries saved themselves
EXAMPLES = ROOT / "examples"
DIGESTS = ROOT / "tests" / "digests"
