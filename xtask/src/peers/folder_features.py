"""Features of all JPEGs below a folder: decoded, resized and cropped by Pillow on several threads, ahead of ONNX Runtime,
which computes the features. One JSON line.

    folder_features.py tf_efficientnet_lite0 FOLDER [--batch 16] [--seconds 6]

Needs torch, timm, onnx, onnxruntime and Pillow. Weights are random: only the speed counts.
"""
from common import parser, rate, report, setup
import inspect, os, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

p = parser(description=__doc__.splitlines()[0])
p.add_argument("network")
p.add_argument("folder", type=Path)
p.add_argument("--batch", type=int, default=16)
args = p.parse_args()
torch = setup(args)
import numpy as np, onnxruntime, timm
from PIL import Image

SHORT, SIDE = 256, 224
MEAN, STD = (np.array(v, np.float32) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

def prepared(path):
    """The image as (3, 224, 224): its shorter side to 256 pixels, then the square in its center, normalized."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    scale = SHORT / min(image.size)
    width, height = (round(scale * side) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32)
    return ((pixels / np.float32(255) - MEAN) / STD).transpose(2, 0, 1)

with tempfile.TemporaryDirectory() as folder:
    file = os.path.join(folder, "network.onnx")
    net = timm.create_model(args.network, pretrained=False, num_classes=0).eval()
    # the exporter by tracing, which newer versions of PyTorch have to be asked for
    tracing = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    torch.onnx.export(net, (torch.zeros(1, 3, SIDE, SIDE),), file, input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}}, **tracing)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
files = sorted(args.folder.glob("*/*.jpg"))

def all_features():
    with ThreadPoolExecutor(args.threads) as pool:
        images, rows = pool.map(prepared, files), []
        for first in range(0, len(files), args.batch):
            batch = [next(images) for _ in files[first:first + args.batch]]
            rows.append(session.run(None, {"x": np.stack(batch)})[0])
    return np.concatenate(rows)

r, _ = rate(all_features, args.seconds)
report(args, work="folder-features", network=args.network, images=len(files), images_per_second=round(r * len(files), 3))
