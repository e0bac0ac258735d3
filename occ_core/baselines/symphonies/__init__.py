"""Symphonies (Jiang et al., CVPR 2024): the host of GaussRender with instance queries."""
