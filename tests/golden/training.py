"""Writes training.json: forward, loss, gradients and ten training steps of small inputs, by PyTorch.

Run with PyTorch (written with 1.13.0, efficientnet-lite0 with 2.15.0) and torchvision (0.14.1):
python3 tests/golden/training.py [NETWORK…]; with names, the others are kept as they are.
"""

import json
import sys
from pathlib import Path

import torch
import torchvision
from torch.nn import functional as F

from formula import fill, uniform
from networks import CifarResNet, Conv4, EfficientNetLite0, SmallCnn

STEPS, RATE, IMAGES, OUTPUTS = 10, 0.01, 8, 5

NETWORKS = {
    "small-cnn": (lambda: SmallCnn(OUTPUTS), (1, 14, 14)),
    "conv4-32": (lambda: Conv4(32, OUTPUTS), (1, 28, 28)),
    "cifar-resnet20": (lambda: CifarResNet(20, OUTPUTS), (3, 32, 32)),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=OUTPUTS), (3, 64, 64)),
    "resnet34": (lambda: torchvision.models.resnet34(num_classes=OUTPUTS), (3, 64, 64)),
    "efficientnet-lite0": (lambda: EfficientNetLite0(OUTPUTS), (3, 64, 64)),
    "resnet50": (lambda: torchvision.models.resnet50(num_classes=OUTPUTS), (3, 64, 64)),
}


def summary(named):
    """Norm and first four values of each tensor."""
    return {
        name: {"norm": tensor.double().norm().item(), "first": tensor.flatten()[:4].tolist()} for name, tensor in named
    }


def golden(build, shape):
    torch.manual_seed(0)
    images, labels = uniform("images", (IMAGES, *shape)), torch.arange(IMAGES) % OUTPUTS
    network = fill(build()).eval()
    with torch.no_grad():
        logits = network(images)

    # double precision, so that what is compared with is not itself rounded
    network.double().train()
    loss = F.cross_entropy(network(images.double()), labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    gradients = summary(zip((name for name, _ in network.named_parameters()), gradients))

    network = fill(build().double()).train()
    losses = []
    for _ in range(STEPS):
        loss = F.cross_entropy(network(images.double()), labels)
        losses.append(loss.item())
        gradient = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(network.parameters(), gradient):
                parameter -= RATE * slope
    running = [(name, value) for name, value in network.named_buffers() if "running" in name]
    return {
        "input": shape,
        "logits": logits.flatten().tolist(),
        "losses": losses,
        "gradients": keep(gradients),
        "running": keep(summary(running)),
    }


def keep(summaries):
    """A tenth of them, the first and the last among them, when there are many."""
    names = list(summaries)
    step = max(1, len(names) // 12)
    return {name: summaries[name] for index, name in enumerate(names) if index % step == 0 or index == len(names) - 1}


def rounded(value):
    """Nine figures: more than the tests compare."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value


if __name__ == "__main__":
    file, chosen = Path(__file__).with_name("training.json"), sys.argv[1:] or list(NETWORKS)
    kept = json.loads(file.read_text())["networks"] if file.exists() else {}
    made = {"images": IMAGES, "outputs": OUTPUTS, "rate": RATE}
    made["networks"] = kept | {name: golden(*NETWORKS[name]) for name in chosen}
    file.write_text(json.dumps(rounded(made), separators=(",", ":")) + "\n")
