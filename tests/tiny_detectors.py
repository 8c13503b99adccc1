"""The smallest structures that are still detectors: a block a stage, a few channels."""

TINY_BACKBONE = {
    "depths": [1, 1, 1, 1],
    "inner_dims": [4, 4, 4, 4],
    "inner_num_heads": [1, 1, 1, 1],
    "outer_dims": [8, 8, 8, 8],
    "outer_num_heads": [2, 2, 2, 2],
}
"""Of PyramidTNT; for `model.structure.backbone`."""
