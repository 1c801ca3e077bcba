"""Small networks as PyTorch modules, with the keys that taper-models gives them."""

import torch
from torch import nn
from torch.nn import functional as F


class SmallCnn(nn.Module):
    """The seed recipe's network on 14x14 gray images, dropout left out."""

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
    """Four blocks of convolution, batch norm, ReLU and max pooling, on 28x28 gray images."""

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


def same(x, kernel, stride):
    """TensorFlow's padding `SAME`: the odd zero comes after the image."""
    sides = []
    for size in (x.shape[3], x.shape[2]):
        whole = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [whole // 2, whole - whole // 2]
    return F.pad(x, sides)


class SameConv2d(nn.Conv2d):
    def forward(self, x):
        x = same(x, self.kernel_size[0], self.stride[0])
        return F.conv2d(x, self.weight, None, self.stride, 0, 1, self.groups)


class LiteBlock(nn.Module):
    """A depthwise convolution between pointwise ones; keys as timm's."""

    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        inside = inputs * expansion
        names = ["conv_pw", "conv_dw", "conv_pwl"] if expansion > 1 else ["conv_dw", "conv_pw"]
        layers = {
            "conv_dw": SameConv2d(inside, inside, kernel, stride, groups=inside, bias=False),
            names[-1]: SameConv2d(inside, outputs, 1, bias=False),
        }
        if expansion > 1:
            layers["conv_pw"] = SameConv2d(inputs, inside, 1, bias=False)
        for number, name in enumerate(names, 1):
            self.add_module(name, layers[name])
            self.add_module(f"bn{number}", nn.BatchNorm2d(layers[name].out_channels, eps=1e-3))
        self.names, self.residual = names, stride == 1 and inputs == outputs

    def forward(self, x):
        y = x
        for number, name in enumerate(self.names, 1):
            y = getattr(self, f"bn{number}")(getattr(self, name)(y))
            y = F.relu6(y) if number < len(self.names) else y
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 with timm's keys."""

    STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]

    def __init__(self, outputs):
        super().__init__()
        self.conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(32, eps=1e-3)
        inputs, stages = 32, []
        for blocks, kernel, stride, expansion, width in self.STAGES:
            stage = []
            for index in range(blocks):
                stage.append(LiteBlock(inputs, width, kernel, stride if index == 0 else 1, expansion))
                inputs = width
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = SameConv2d(320, 1280, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1280, eps=1e-3)
        self.classifier = nn.Linear(1280, outputs)

    def forward(self, x):
        x = F.relu6(self.bn1(self.conv_stem(x)))
        x = F.relu6(self.bn2(self.conv_head(self.blocks(x))))
        return self.classifier(x.mean((2, 3)))
