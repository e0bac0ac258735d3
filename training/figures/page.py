"""Pages of pictures: panels in rows and columns, with captions."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAGE_RGB = (13, 14, 17)
TEXT_RGB = (232, 234, 238)
GAP_PX = 8
CAPTION_PX = 26
FONT = ImageFont.load_default(15)


def captioned(panel: np.ndarray, caption: str) -> np.ndarray:
    """The panel, uint8 ``[h, w, 3]`` RGB, under a line of text."""
    line = Image.new("RGB", (panel.shape[1], CAPTION_PX), PAGE_RGB)
    draw = ImageDraw.Draw(line)
    draw.text((2, CAPTION_PX / 2), caption, fill=TEXT_RGB, font=FONT, anchor="lm")
    return np.concatenate([np.asarray(line), panel])


def row(panels: list[np.ndarray]) -> np.ndarray:
    """Panels of the same height side by side."""
    gap = np.full((panels[0].shape[0], GAP_PX, 3), PAGE_RGB, dtype=np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def column(rows: list[np.ndarray], margin: int = GAP_PX) -> np.ndarray:
    """Rows one below the other, each centred in the width of the widest."""
    width = max(panel.shape[1] for panel in rows)
    height = sum(panel.shape[0] + GAP_PX for panel in rows) - GAP_PX
    page = np.full((height + 2 * margin, width + 2 * margin, 3), PAGE_RGB, dtype=np.uint8)
    top = margin
    for panel in rows:
        left = margin + (width - panel.shape[1]) // 2
        page[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
        top += panel.shape[0] + GAP_PX
    return page
