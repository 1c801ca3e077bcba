"""Writes resize.txt: Pillow's resized pictures, which taper-data's resize must match.

Run: python3 -m venv v && v/bin/pip install pillow==13.0.0 && v/bin/python resize.py > resize.txt
A line: channels, width, height, 1 for BICUBIC or 0 for BILINEAR, then the samples (c, h, w).
"""
import PIL
from PIL import Image

WIDTH, HEIGHT = 13, 10


def picture(channels):
    image = Image.new("L" if channels == 1 else "RGB", (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            samples = tuple((x * x * 7 + y * 31 + x * y * (c + 3) + c * 50) % 256 for c in range(channels))
            image.putpixel((x, y), samples if channels == 3 else samples[0])
    return image


print(f"# Pillow {PIL.__version__}, crates/taper-data/golden/resize.py")
for channels, width, height in [(1, 5, 4), (1, 6, 10), (1, 20, 17), (3, 7, 3), (1, 1, 1), (3, 4, 15)]:
    for cubic in (0, 1):
        method = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
        resized = picture(channels).resize((width, height), method)
        planes = [list(plane.tobytes()) for plane in resized.split()]
        print(channels, width, height, cubic, *(sample for plane in planes for sample in plane))
