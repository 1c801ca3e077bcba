"""From the start of a Python process to its printed answer about one image: import torch, read a Conv4-64 classifier of
84 by 84 pixels, decode the image with Pillow, and classify it. One JSON line.

    cold_start.py FOLDER [--seconds 6]

FOLDER holds image.jpg. Needs torch, numpy and Pillow. Weights are random: only the speed counts.
"""
from common import parser, rate, report, setup
import os, subprocess, sys, tempfile
from pathlib import Path

p = parser(description=__doc__.splitlines()[0])
p.add_argument("folder", type=Path)
args = p.parse_args()
torch = setup(args)

NETWORK = """
def network():
    layers, inputs = [], 3
    for _ in range(4):
        layers += [nn.Conv2d(inputs, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
        inputs = 64
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1600, 5)).eval()
"""
PROGRAM = "import sys, numpy as np, torch\nfrom PIL import Image\nfrom torch import nn\n" + NETWORK + """
weights, image, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
net = network()
net.load_state_dict(torch.load(weights))
pixels = np.asarray(Image.open(image).convert("RGB").resize((84, 84), Image.Resampling.BILINEAR), np.float32) / 255
with torch.inference_mode():
    shares = net(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]).softmax(1)[0]
print(f"class {int(shares.argmax())}: {float(shares.max()):.1%}")
"""
made = {"nn": torch.nn}
exec(NETWORK, made)
with tempfile.TemporaryDirectory() as folder:
    weights = os.path.join(folder, "weights.pt")
    torch.save(made["network"]().state_dict(), weights)
    command = [sys.executable, "-c", PROGRAM, weights, str(args.folder / "image.jpg"), str(args.threads)]
    r, _ = rate(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), args.seconds)
report(args, work="cold-start", starts_per_second=round(r, 4))
