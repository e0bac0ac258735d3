"""What trains, scores and generates: ``python -m training.<name>``."""

import os

# read once, as torch is imported: its idle threads leave their cores after a tenth of the usual
# wait, for loaders and rasteriser
os.environ.setdefault("GOMP_SPINCOUNT", "30000")
