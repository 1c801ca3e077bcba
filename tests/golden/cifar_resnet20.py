"""Writes cifar_resnet20.json: logits of the published CIFAR ResNet-20 on generated images, by PyTorch.

Run with PyTorch (written with 1.13.0):
python3 tests/golden/cifar_resnet20.py ../shared/data/weights/cifar_resnet20.th
"""

import json
import sys
from pathlib import Path

import torch

from formula import uniform
from networks import CifarResNet

state = torch.load(sys.argv[1], map_location="cpu")["state_dict"]
network = CifarResNet(20, 10)
network.load_state_dict({name[len("module.") :]: tensor for name, tensor in state.items()}, strict=False)
network.eval()
with torch.no_grad():
    logits = network(uniform("cifar images", (4, 3, 32, 32)) * 2)
Path(__file__).with_name("cifar_resnet20.json").write_text(json.dumps({"logits": logits.tolist()}) + "\n")
print(logits.argmax(1))
