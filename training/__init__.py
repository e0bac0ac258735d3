"""Training, evaluation and generated data: ``python -m training.<verb>``."""

import occ_core  # noqa: F401  # bounds the spinning of OpenMP's threads, before torch is imported
