"""Writes trivial_augment.txt: Pillow's results of TrivialAugment's operations, as torchvision calls them.

Run: python3 -m venv v && v/bin/pip install pillow==13.0.0 && v/bin/python trivial_augment.py > trivial_augment.txt
A line: operation, strength, channels, then the samples (c, h, w).
"""
import PIL
from PIL import Image, ImageEnhance, ImageOps


def picture(width, height, channels):
    image = Image.new("L" if channels == 1 else "RGB", (width, height))
    for y in range(height):
        for x in range(width):
            samples = tuple(20 + (x * x * 7 + y * 31 + x * y * (c + 3) + c * 50) % 216 for c in range(channels))
            image.putpixel((x, y), samples if channels == 3 else samples[0])
    return image


def moved(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


OPERATIONS = [
    ("shear-x", [0.33, -0.99], lambda image, by: moved(image, (1, by, 0, 0, 1, 0))),
    ("shear-y", [0.66, -0.132], lambda image, by: moved(image, (1, 0, 0, by, 1, 0))),
    ("translate-x", [3, -7], lambda image, by: moved(image, (1, 0, -by, 0, 1, 0))),
    ("translate-y", [-2, 5], lambda image, by: moved(image, (1, 0, 0, 0, 1, -by))),
    ("rotate", [13.5, -58.5, 135.0], lambda image, by: image.rotate(by, Image.Resampling.NEAREST)),
    ("brightness", [0.505, 1.99], lambda image, by: ImageEnhance.Brightness(image).enhance(by)),
    ("color", [0.01, 1.693], lambda image, by: ImageEnhance.Color(image).enhance(by)),
    ("contrast", [0.307, 1.99], lambda image, by: ImageEnhance.Contrast(image).enhance(by)),
    ("sharpness", [0.01, 1.99], lambda image, by: ImageEnhance.Sharpness(image).enhance(by)),
    ("posterize", [2, 6], lambda image, by: ImageOps.posterize(image, by)),
    ("solarize", [204.0, 8.5], lambda image, by: ImageOps.solarize(image, by)),
    ("auto-contrast", [0], lambda image, _: ImageOps.autocontrast(image)),
    ("equalize", [0], lambda image, _: ImageOps.equalize(image)),
]

print(f"# Pillow {PIL.__version__}, crates/taper-data/golden/trivial_augment.py")
for name, strengths, operation in OPERATIONS:
    # fewer pixels than levels are not equalized
    size = (25, 22) if name == "equalize" else (11, 8)
    for strength in strengths:
        for channels in (1, 3):
            planes = [list(plane.tobytes()) for plane in operation(picture(*size, channels), strength).split()]
            print(name, strength, channels, *(sample for plane in planes for sample in plane))
