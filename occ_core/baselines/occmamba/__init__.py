"""OccMamba (Li et al., CVPR 2025): the base model's two sensor branches and their concatenation, a
hierarchical Mamba encoder over the fused volume, and a cascade that reads that volume alone.
"""
