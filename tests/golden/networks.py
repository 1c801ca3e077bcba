"""Small networks as PyTorch modules, with the keys that taper-models gives them."""

import torch
from torch import nn
from torch.nn import functional as F


class SmallCnn(nn.Module):
    """The seed recipe's network on 14x14 grey images, dropout left out."""

    def __init__(self, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(1600, 128)
        self.fc2 = nn.Linear(128, outputs)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc2(F.relu(self.fc1(F.max_pool2d(x, 2).flatten(1))))


class Conv4(nn.Module):
    """Four blocks of convolution, batch norm, ReLU and max pooling, on 28x28 grey images."""

    def __init__(self, width, outputs):
        super().__init__()
        for block in range(4):
            layers = {"conv": nn.Conv2d(1 if block == 0 else width, width, 3, padding=1, bias=False)}
            self.add_module(f"block{block}", nn.ModuleDict({**layers, "norm": nn.BatchNorm2d(width)}))
        self.fc = nn.Linear(width, outputs)

    def forward(self, x):
        for block in (self.block0, self.block1, self.block2, self.block3):
            x = F.max_pool2d(F.relu(block["norm"](block["conv"](x))), 2)
        return self.fc(x.flatten(1))


class CifarBlock(nn.Module):
    """A basic block whose shortcut has no weights (He et al. 2016, option A)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.missing = stride, outputs - inputs

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.missing:
            before = self.missing // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.missing - before))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    """The narrow residual network for 32x32 images."""

    def __init__(self, depth, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inputs = 16
        for layer, width in enumerate((16, 32, 64), 1):
            blocks = []
            for index in range((depth - 2) // 6):
                blocks.append(CifarBlock(inputs, width, 2 if layer > 1 and index == 0 else 1))
                inputs = width
            self.add_module(f"layer{layer}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, outputs)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))
