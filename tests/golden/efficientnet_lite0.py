"""Writes efficientnet_lite0.json: logits and the five most likely classes of five photographs, by PyTorch.

Run with PyTorch and Pillow (written with 2.15.0 and 13.0.0), in the workspace:
python3 tests/golden/efficientnet_lite0.py ../shared/data/weights/efficientnet-lite0-57934424.pth ../shared/data/trashnet
The keys of the published file become timm's by their order, which is the same: neither by name nor by our code.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from networks import EfficientNetLite0

PHOTOGRAPHS = [
    "val/cardboard/cardboard111.jpg",
    "val/glass/glass112.jpg",
    "val/metal/metal131.jpg",
    "val/paper/paper126.jpg",
    "val/plastic/plastic116.jpg",
]


def prepared(path):
    """Shorter side to 256, bicubic; the middle 224x224; (v - 127) / 128."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((256 * width // short, 256 * height // short), Image.Resampling.BICUBIC)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    image = image.crop((left, top, left + 224, top + 224))
    return torch.from_numpy((np.asarray(image, dtype=np.float32) - 127) / 128).permute(2, 0, 1)


def load(path):
    network = EfficientNetLite0(1000).eval()
    theirs = torch.load(path, map_location="cpu")
    assert len(theirs) == len(network.state_dict())
    order = execution_order(network)
    network.load_state_dict(dict(zip(order, theirs.values(), strict=True)))
    return network


def execution_order(network):
    """Our keys in the order of the published file: as the layers are passed."""
    keys = []
    add = lambda name, module: keys.extend(f"{name}.{key}" for key in module.state_dict())
    add("conv_stem", network.conv_stem)
    add("bn1", network.bn1)
    for stage, blocks in enumerate(network.blocks):
        for index, block in enumerate(blocks):
            for number, name in enumerate(block.names, 1):
                add(f"blocks.{stage}.{index}.{name}", getattr(block, name))
                add(f"blocks.{stage}.{index}.bn{number}", getattr(block, f"bn{number}"))
    add("conv_head", network.conv_head)
    add("bn2", network.bn2)
    add("classifier", network.classifier)
    return keys


if __name__ == "__main__":
    network, folder = load(sys.argv[1]), Path(sys.argv[2])
    golden = []
    for name in PHOTOGRAPHS:
        with torch.no_grad():
            logits = network(prepared(folder / name)[None])[0]
        best = logits.softmax(0).topk(5)
        golden.append({
            "photograph": name,
            "top": best.indices.tolist(),
            "probabilities": [round(p, 6) for p in best.values.tolist()],
            "every_20th_logit": [round(v, 5) for v in logits[::20].tolist()],
        })
    text = ",\n".join(json.dumps(entry) for entry in golden)
    Path(__file__).with_name("efficientnet_lite0.json").write_text(f"[\n{text}\n]\n")
