"""Writes checkpoints/*: one small network in the forms that training code saves it in.

Run with PyTorch and NumPy (written with 2.2.2 and 1.26): python3 tests/golden/checkpoints.py
"""

import argparse
import collections
import datetime
import pathlib

import numpy
import torch
from torch import nn

here = pathlib.Path(__file__).parent / "checkpoints"
here.mkdir(exist_ok=True)


class Net(nn.Module):
    def __init__(self, start=0.0):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(2)
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3))
        with torch.no_grad():
            for tensor in self.parameters():
                tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) + start)

    def forward(self, x):
        return self.layers(self.bn1(self.conv1(x)).mean((2, 3)))


class Config(dict):
    """A class that nobody else has."""


network, average = Net(), Net(100.0)
state = network.state_dict()
optimizer = torch.optim.AdamW(network.parameters())
network(torch.ones(2, 1, 5, 5)).sum().backward()
optimizer.step()
with torch.no_grad():
    for tensor, value in zip(network.parameters(), Net().parameters()):
        tensor.copy_(value)
network.load_state_dict(Net().state_dict())
state = network.state_dict()


def renamed(prefix):
    return collections.OrderedDict((prefix + key, value) for key, value in state.items())


def save(name, value, **options):
    torch.save(value, here / name, **options)


beside = {
    "args": argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("/data"), steps=(1, 2)),
    "best": numpy.float64(91.2),
    "mean": numpy.array([0.5, 0.25], dtype=numpy.float32),
    "when": datetime.datetime(2024, 5, 17, 12, 30),
    "config": Config(depth=20),
    "counts": collections.Counter([1, 1, 2]),
    "groups": collections.defaultdict(list, {"a": [1]}),
    "names": {"cat", "dog"},
    "loss": torch.tensor(0.25),
    "large": 1 << 200,
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "random": torch.get_rng_state()[:8],
    "optimizer": optimizer.state_dict(),
}
save("timm.pth.tar", {"epoch": 9, "arch": "tiny", "state_dict": state, "state_dict_ema": average.state_dict(), **beside})
save("timm-legacy.pth.tar", {"state_dict": renamed("module."), **beside}, _use_new_zipfile_serialization=False)
save("protocol-4.pth", {"state_dict": renamed("module."), **beside}, pickle_protocol=4)
save("protocol-4-legacy.pth", {"model": state, **beside}, pickle_protocol=4, _use_new_zipfile_serialization=False)
save(
    "lightning.ckpt",
    {
        "epoch": 3,
        "global_step": 90,
        "pytorch-lightning_version": "2.2.0",
        "state_dict": {**renamed("model._orig_mod."), "criterion.weight": torch.ones(3)},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.9), "dirpath": "/x"}},
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": beside["args"],
        "loops": {"fit_loop": {"x": 1.5}},
    },
)
save("whole-model.pth", network)
save("whole-model-legacy.pth", network, _use_new_zipfile_serialization=False)
save("typed.pth", {"net": {**state, "scale": torch.ones(2, dtype=torch.int8), "phase": torch.ones(2, dtype=torch.complex64)}})
torch.jit.trace(Net().eval(), torch.ones(1, 1, 5, 5)).save(str(here / "torchscript.pt"))
