"""Writes meta.json: meta-losses and meta-gradients of MAML (exact, first order) and ProtoNet on one task, by PyTorch.

Run with PyTorch (written with 2.13): python3 tests/golden/meta.py
"""

import json
from pathlib import Path

import torch
from torch.func import functional_call
from torch.nn import functional as F

from formula import fill, uniform
from networks import Conv4

WAYS, SHOTS, QUERIES, RATE, STEPS = 5, 1, 3, 0.1, 3

torch.manual_seed(0)
network = fill(Conv4(16, WAYS)).double().train()
start = dict(network.named_parameters())
support = uniform("support", (WAYS * SHOTS, 1, 28, 28)).double()
query = uniform("query", (WAYS * QUERIES, 1, 28, 28)).double()
support_labels = torch.arange(WAYS * SHOTS) // SHOTS
query_labels = torch.arange(WAYS * QUERIES) // QUERIES


def logits(params, images):
    """Every batch by its own statistics."""
    return functional_call(network, params, (images,))


def summary(gradients):
    return {
        name: {"norm": gradient.norm().item(), "first": gradient.flatten()[:4].tolist()}
        for name, gradient in gradients.items()
    }


def maml(exact):
    params = start
    for _ in range(STEPS):
        loss = F.cross_entropy(logits(params, support), support_labels)
        slopes = torch.autograd.grad(loss, list(params.values()), create_graph=exact)
        params = {name: value - RATE * slope for (name, value), slope in zip(params.items(), slopes)}
    loss = F.cross_entropy(logits(params, query), query_labels)
    targets = start if exact else params
    gradients = torch.autograd.grad(loss, list(targets.values()))
    return {"loss": loss.item(), "gradients": summary(dict(zip(start, gradients)))}


def protonet():
    features = {}
    network.fc.register_forward_hook(lambda module, inputs, output: features.update(at=inputs[0]))
    logits(start, support)
    prototypes = features["at"].reshape(WAYS, SHOTS, -1).mean(1)
    logits(start, query)
    loss = F.cross_entropy(-torch.cdist(features["at"], prototypes) ** 2, query_labels)
    body = {name: value for name, value in start.items() if not name.startswith("fc.")}
    return {"loss": loss.item(), "gradients": summary(dict(zip(body, torch.autograd.grad(loss, list(body.values())))))}


golden = {"maml": maml(True), "first-order-maml": maml(False), "protonet": protonet()}
Path(__file__).with_name("meta.json").write_text(json.dumps(golden) + "\n")
print({name: case["loss"] for name, case in golden.items()})
