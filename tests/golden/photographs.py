"""Writes photographs.txt: samples of real photographs as Pillow decodes and resizes them.

Run in the workspace, with Pillow (written with 13.0.0): python3 tests/golden/photographs.py ../shared/data
A line: file, filter, width and height (0 0: as decoded), then 96 samples at places that a formula picks.
"""

import sys
from pathlib import Path

import PIL
from PIL import Image, ImageOps

FILES = [
    "trashnet/val/cardboard/cardboard111.jpg",
    "trashnet/val/glass/glass112.jpg",
    "trashnet/train/trash/{first}",
    "sign-digits/{first}",
]
SIZES = [(0, 0), (224, 224), (256, 341), (64, 64), (28, 28), (600, 450)]
SAMPLES = 96


def samples(image):
    """Every so-manieth of (row, column, channel): 7919 is prime, so all parts of the image are met."""
    values = image.tobytes()
    return [values[(index * 7919 * 13) % len(values)] for index in range(SAMPLES)]


def named(folder, pattern):
    if "{first}" not in pattern:
        return pattern
    start = folder / pattern.replace("{first}", "")
    files = sorted(path for path in start.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return str(files[0].relative_to(folder))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    lines = [f"# Pillow {PIL.__version__}, tests/golden/photographs.py"]
    for name in (named(folder, pattern) for pattern in FILES):
        image = ImageOps.exif_transpose(Image.open(folder / name)).convert("RGB")
        for width, height in SIZES:
            for filter_name in ["bilinear", "bicubic"] if width else ["none"]:
                made = image.resize((width, height), Image.Resampling[filter_name.upper()]) if width else image
                lines.append(" ".join(map(str, [name, filter_name, width, height, *samples(made)])))
    Path(__file__).with_name("photographs.txt").write_text("\n".join(lines) + "\n")
