"""Writes tiny.pth and tiny-legacy.pth: one state dict with everything odd, in both formats of torch.save.

Run with PyTorch (written with 1.13.0): python3 tests/golden/state_dicts.py
"""

from collections import OrderedDict
from pathlib import Path

import torch

counting = torch.arange(24, dtype=torch.float32)
grid = counting.reshape(4, 6)
state = OrderedDict(
    {
        "module.contiguous": counting[:6].reshape(2, 3).clone(),
        "module.transposed": grid.t(),
        "module.offset": grid[1:3, 2:5],
        "module.scalar": torch.tensor(2.5),
        "module.empty": torch.zeros(0, 3),
        "module.half": torch.tensor([0.5, -1.25], dtype=torch.float16),
        "module.bfloat16": torch.tensor([3.0, -0.125], dtype=torch.bfloat16),
        "module.double": torch.tensor([1e-3], dtype=torch.float64),
        "module.parameter": torch.nn.Parameter(torch.tensor([7.0, 8.0])),
        "module.bn.num_batches_tracked": torch.tensor(1234567890123),
    }
)
checkpoint = {"epoch": 3, "best": 91.5, "arch": "tiny", "state_dict": state, "sizes": torch.Size([1, 2])}
here = Path(__file__).parent
torch.save(checkpoint, here / "tiny.pth", _use_new_zipfile_serialization=True)
torch.save(checkpoint, here / "tiny-legacy.pth", _use_new_zipfile_serialization=False)
