"""Writes maml.json: the exact meta-gradient of a task after two inner steps, by PyTorch in double precision.

Run with PyTorch (written with 2.15): python3 tests/golden/maml.py
"""

import json
from pathlib import Path

import torch
from torch.func import functional_call
from torch.nn import functional as F

from formula import fill, uniform
from networks import Conv4
from training import rounded, summary

WAYS, WIDTH, INNER_LR, STEPS = 5, 16, 0.1, 2


def meta_gradient():
    network = fill(Conv4(WIDTH, WAYS)).double().train()
    parameters = dict(network.named_parameters())
    support, query = (uniform(name, (WAYS, 1, 28, 28)).double() for name in ("support", "query"))
    labels = torch.arange(WAYS)

    def loss(params, images):
        # a copy of the statistics, which training would change
        buffers = {name: value.clone() for name, value in network.named_buffers()}
        return F.cross_entropy(functional_call(network, {**params, **buffers}, images), labels)

    fast = parameters
    for _ in range(STEPS):
        slopes = torch.autograd.grad(loss(fast, support), list(fast.values()), create_graph=True)
        fast = {name: value - INNER_LR * slope for (name, value), slope in zip(fast.items(), slopes)}
    final = loss(fast, query)
    gradient = torch.autograd.grad(final, list(parameters.values()))
    return {
        "ways": WAYS,
        "width": WIDTH,
        "inner_lr": INNER_LR,
        "steps": STEPS,
        "loss": final.item(),
        "gradient": summary(zip(parameters, gradient)),
    }


if __name__ == "__main__":
    Path(__file__).with_name("maml.json").write_text(json.dumps(rounded(meta_gradient()), separators=(",", ":")) + "\n")
