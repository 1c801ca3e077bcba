"""Writes jpegs.txt: small JPEGs of every kind and orientation, and the samples that Pillow decodes.

Run with Pillow (written with 13.0.0): python3 tests/golden/jpegs.py
A line: name, width and height after turning, channels, the file in hexadecimal, then the samples.
"""

import io
from pathlib import Path

import PIL
from PIL import Image, ImageOps

WIDTH, HEIGHT = 21, 13
SUBSAMPLING = {"444": 0, "422": 1, "420": 2}


def picture(mode):
    image = Image.new(mode, (WIDTH, HEIGHT))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            red, green, blue = 12 * x, 255 - 18 * y, (x * y) % 200 + 30
            image.putpixel((x, y), (red, green, blue) if mode == "RGB" else (red + green) // 2)
    return image


def line(name, image, orientation=None, **how):
    file, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
        how["exif"] = exif
    image.save(file, "JPEG", quality=85, **how)
    decoded = ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue())))
    size = [decoded.width, decoded.height, len(decoded.getbands())]
    return " ".join(map(str, [name, *size, file.getvalue().hex(), *decoded.tobytes()]))


if __name__ == "__main__":
    lines = [f"# Pillow {PIL.__version__}, tests/golden/jpegs.py", line("gray", picture("L"))]
    for name, subsampling in SUBSAMPLING.items():
        lines.append(line(name, picture("RGB"), subsampling=subsampling))
    lines.append(line("progressive", picture("RGB"), progressive=True))
    lines.append(line("restarts", picture("RGB"), restart_marker_blocks=1))
    for orientation in range(1, 9):
        lines.append(line(f"orientation-{orientation}", picture("L"), orientation))
    Path(__file__).with_name("jpegs.txt").write_text("\n".join(lines) + "\n")
