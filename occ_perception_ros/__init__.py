"""Live 3D semantic occupancy as a ROS 2 node, and tools for its bags."""

import occ_core  # noqa: F401  # bounds the spinning of OpenMP's threads, before torch is imported
