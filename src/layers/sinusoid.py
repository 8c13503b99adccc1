"""The fixed table of sinusoid positions."""

import numpy as np


def sinusoid_table(num_positions: int, dim: int) -> np.ndarray:
    """Sines of rising wavelength in the even channels, cosines in the odd ones: float32 (num_positions, dim).

    Entry (p, 2i) is sin(p / 10000^(2i / dim)) and entry (p, 2i + 1) its cosine; computed in float64.

    Source: Vaswani et al., Attention Is All You Need, 2017, section 3.5.

    Args:
        num_positions: rows, counted from position 0.
        dim: channels.
    """
    channels = np.arange(dim)
    angles = np.arange(num_positions)[:, None] / 10000.0 ** (2 * (channels // 2) / dim)
    return np.where(channels % 2 == 0, np.sin(angles), np.cos(angles)).astype(np.float32)
