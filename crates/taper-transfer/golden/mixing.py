"""Writes mixing.json: torchvision's MixUp and CutMix with the share and the rectangle's center given.

Run with PyTorch and torchvision: python3 crates/taper-transfer/golden/mixing.py
"""

import json
from pathlib import Path
from unittest.mock import patch

import torch
from torchvision.transforms import v2

golden = []
for share, center, (height, width) in [(0.3, (2, 3), (6, 7)), (0.75, (0, 6), (5, 8)), (0.05, (4, 4), (9, 6))]:
    torch.manual_seed(1)
    images, labels = torch.randint(0, 100, (3, 2, height, width)) / 100, torch.tensor([2, 0, 1])
    entry = {"share": share, "center": center, "images": [[[[round(v, 2) for v in row] for row in plane] for plane in image] for image in images.tolist()]}
    entry["labels"] = torch.nn.functional.one_hot(labels, 3).float().tolist()
    for name, mix in [("mixup", v2.MixUp(num_classes=3)), ("cutmix", v2.CutMix(num_classes=3))]:
        # CutMix draws the column, then the row
        drawn = iter([torch.tensor([center[1]]), torch.tensor([center[0]])])
        with patch.object(mix._dist, "sample", lambda *_: torch.tensor(share)):
            with patch("torch.randint", lambda *_, **__: next(drawn)):
                mixed, targets = mix(images, labels)
        entry[f"{name}_images"] = [round(v, 6) for v in mixed.flatten().tolist()]
        entry[f"{name}_labels"] = [round(v, 6) for v in targets.flatten().tolist()]
    golden.append(entry)
Path(__file__).with_name("mixing.json").write_text(json.dumps(golden) + "\n")
