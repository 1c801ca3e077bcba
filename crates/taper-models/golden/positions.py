"""Writes positions.json: position embeddings of another image size, by PyTorch's interpolate.

Run with PyTorch (written with 2.2.2): python3 crates/taper-models/golden/positions.py
"""

import json
from pathlib import Path

import torch
from torch.nn.functional import interpolate


def embeddings(side, width):
    """One class token and side x side patches: values that a formula gives."""
    count = (1 + side * side) * width
    return torch.tensor([((at * 7919) % 1013) / 1013 - 0.5 for at in range(count)]).reshape(1, -1, width)


def resized(old, new, width, offset):
    all = embeddings(old, width)
    grid = all[:, 1:].reshape(1, old, old, width).permute(0, 3, 1, 2)
    # DINOv2 gives the factor, with 0.1 added to the new size; transformers gives the size
    size = {"scale_factor": ((new + 0.1) / old,) * 2} if offset else {"size": (new, new)}
    grid = interpolate(grid, mode="bicubic", align_corners=False, **size)
    assert grid.shape[-2:] == (new, new)
    return torch.cat([all[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, width)], 1)


cases = []
for old, new, offset in [(37, 16, True), (16, 37, True), (5, 3, True), (14, 24, False), (7, 12, False), (24, 14, False)]:
    values = resized(old, new, 2, offset).flatten()
    chosen = list(range(0, len(values), max(1, len(values) // 60)))
    cases.append({"old": old, "new": new, "offset": offset, "at": chosen, "values": [round(values[at].item(), 6) for at in chosen]})
path = Path(__file__).parent / "positions.json"
path.write_text(json.dumps({"width": 2, "cases": cases}) + "\n")
