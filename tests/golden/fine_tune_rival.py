"""Fine-tuning of EfficientNet-Lite0 in PyTorch, as a rival of `taper train`: the same weights, images and time.

    fine_tune_rival.py FOLDER --weights efficientnet-lite0-57934424.pth [--budget 300] [--rate 1e-3] [--seed 0]

FOLDER has train/ and val/ with a folder for each class. The whole network is trained with AdamW (one cycle: the rate rises
for a tenth of the time and falls to 0), the head ten times as fast as the rest, on images at 224 pixels (shorter side 256,
middle 224), each mirrored or not, until the budget is spent; then val/ is scored once, each image and its mirror image
together. Prints one JSON line.

Needs torch, pillow and efficientnet_lite_pytorch.
"""
import argparse
import glob
import json
import os
import time

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageOps

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder")
parser.add_argument("--weights", required=True)
parser.add_argument("--budget", type=float, default=300)
parser.add_argument("--rate", type=float, default=1e-3)
parser.add_argument("--batch", type=int, default=16)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
start = time.time()
torch.manual_seed(args.seed)
torch.set_num_threads(2)
draw = np.random.default_rng(args.seed)


def picture(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.BICUBIC)
    left, top = ((side - 224) // 2 for side in image.size)
    values = np.asarray(image.crop((left, top, left + 224, top + 224)), dtype=np.float32)
    return ((values / 255 - 0.5) / 0.5).transpose(2, 0, 1)


def part(name):
    files = sorted(glob.glob(os.path.join(args.folder, name, "*", "*")))
    return torch.from_numpy(np.stack([picture(file) for file in files])), [file.split(os.sep)[-2] for file in files]


images, names = part("train")
classes = sorted(set(names))
labels = torch.tensor([classes.index(name) for name in names])
network = EfficientNet.from_name("efficientnet-lite0")
network.load_state_dict(torch.load(args.weights, map_location="cpu"))
network._fc = torch.nn.Linear(network._fc.in_features, len(classes))
network = network.to(memory_format=torch.channels_last).train()
head = list(network._fc.parameters())
body = [value for name, value in network.named_parameters() if not name.startswith("_fc.")]
optimizer = torch.optim.AdamW([{"params": body}, {"params": head}], weight_decay=0.01)
# what reading took is spent; scoring takes its share of images at a third of the time of training
reserve = 0.03 * args.budget
steps, epoch, order = 0, 0, []
while (spent := (time.time() - start) / (args.budget - reserve)) < 1:
    if len(order) < args.batch:
        order, epoch = list(draw.permutation(len(images))), epoch + 1
    chosen, order = order[: args.batch], order[args.batch :]
    cycle = min(spent / 0.1, (1 - spent) / 0.9)
    for group, times in zip(optimizer.param_groups, (0.1, 1.0)):
        group["lr"] = args.rate * times * cycle
    some = images[chosen]
    mirrored = torch.from_numpy(draw.random(len(chosen)) < 0.5)
    some[mirrored] = some[mirrored].flip(-1)
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(network(some.contiguous(memory_format=torch.channels_last)), labels[chosen])
    loss.backward()
    optimizer.step()
    steps += 1
network.eval()
held_out, truth = part("val")
with torch.no_grad():
    answers = torch.cat([network(some).softmax(1) + network(some.flip(-1)).softmax(1) for some in held_out.split(16)])
right = [classes[answer] == name for answer, name in zip(answers.argmax(1), truth)]
print(json.dumps({"data": os.path.basename(os.path.normpath(args.folder)), "accuracy": float(np.mean(right)), "images": len(images),
                  "held_out": len(right), "steps": steps, "passes": epoch, "rate": args.rate, "seconds": round(time.time() - start, 1)}))
