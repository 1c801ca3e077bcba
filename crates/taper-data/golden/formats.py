"""Writes formats.txt: small images in every format that is read, and the samples that Pillow decodes.

Run with Pillow and pillow-heif (written with 13.0.0 and 1.8.1): python3 crates/taper-data/golden/formats.py
A line: name, width and height after turning, channels, the file in hexadecimal, then the samples.
Transparent pictures are laid over white, or over black where their ink is white.
"""

import io
import struct
import zlib
from pathlib import Path

import PIL
import pillow_heif
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()
WIDTH, HEIGHT = 21, 13


def sample(x, y):
    return 12 * x, 255 - 18 * y, (x * y) % 200 + 30


def picture(mode="RGB"):
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.putdata([sample(x, y) for y in range(HEIGHT) for x in range(WIDTH)])
    if mode == "RGBA":
        image.putalpha(Image.frombytes("L", (WIDTH, HEIGHT), bytes((x * 37 + y) % 256 for y in range(HEIGHT) for x in range(WIDTH))))
        return image
    return image.convert(mode)


def smooth():
    image = Image.new("RGB", (WIDTH, HEIGHT))
    image.putdata([(12 * x, 255 - 18 * y, 5 * x + 8 * y) for y in range(HEIGHT) for x in range(WIDTH)])
    return image


def file(image, kind, **how):
    data = io.BytesIO()
    image.save(data, kind, **how)
    return data.getvalue()


def chunk(name, data, check=None):
    check = zlib.crc32(name + data) if check is None else check
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def tiff(value, order="<", kind=3):
    body = struct.pack(order + "H2x", value) if kind == 3 else struct.pack(order + "I", value)
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + body
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)


def packet(text):
    return ('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {text}</rdf:RDF></x:xmpmeta>').encode()


ATTRIBUTE = packet('tiff:Orientation="6"/>')
ELEMENT = packet("><tiff:Orientation>3</tiff:Orientation></rdf:Description>")


def app1(jpeg, payload):
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def png_with(png, extra, at_end=False):
    return png[:-12] + extra + png[-12:] if at_end else png[:33] + extra + png[33:]


def raw_profile(block):
    data = b"Exif\0\0" + block
    lines = [data.hex()[n:n + 72] for n in range(0, 2 * len(data), 72)]
    return b"Raw profile type exif\0" + f"\nexif\n{len(data):8}\n".encode() + "\n".join(lines).encode() + b"\n"


def riff(webp, flags, extra):
    """A simple WebP made an extended one, with chunks behind the picture."""
    size = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    body = b"WEBP" + b"VP8X" + struct.pack("<IB3x", 10, flags) + size + webp[12:]
    for name, data in extra:
        body += name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(image, screen=None, **how):
    data = file(image, "GIF", **how)
    return data if screen is None else data[:6] + struct.pack("<HH", *screen) + data[10:]


def deep(samples, top):
    """A 16-bit gray PNG, and what it looks like when `top` is white."""
    rows = b"".join(b"\0" + struct.pack(f">{WIDTH}H", *samples[y * WIDTH:(y + 1) * WIDTH]) for y in range(HEIGHT))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return data, Image.frombytes("L", (WIDTH, HEIGHT), bytes(round(sample * 255 / top) for sample in samples))


def flat(image, ground=255):
    image = ImageOps.exif_transpose(image)
    gray = image.mode in ("1", "L", "LA")
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        gray = gray or image.mode == "L"
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (ground,) * 3 + (255,)), image)
    return image.convert("L" if gray else "RGB")


def cases():
    rgb, gray = picture(), picture("L")
    plain, webp = file(rgb, "PNG"), file(smooth(), "WEBP", quality=90)
    jpeg = file(smooth(), "JPEG", quality=85)
    first = 4 + struct.unpack(">H", jpeg[4:6])[0]
    white = Image.new("RGBA", (WIDTH, HEIGHT), (255, 255, 255, 0))
    white.putalpha(Image.frombytes("L", (WIDTH, HEIGHT), bytes(255 if (x + y) % 5 == 0 else 0 for y in range(HEIGHT) for x in range(WIDTH))))
    yield "webp-lossless", file(rgb, "WEBP", lossless=True)
    yield "webp-lossy", webp
    yield "webp-clear", file(picture("RGBA"), "WEBP", lossless=True, exact=True)
    yield "webp-exif", riff(webp, 8, [(b"EXIF", tiff(6))])
    yield "webp-exif-marked", riff(webp, 8, [(b"EXIF", b"Exif\0\0" + tiff(8, ">"))])
    yield "webp-xmp", riff(webp, 4, [(b"XMP ", ATTRIBUTE)])
    yield "webp-animated", file(rgb, "WEBP", save_all=True, append_images=[smooth()], lossless=True)
    for mode in ["RGB", "L", "1", "P", "RGBA"]:
        yield f"bmp-{mode}", file(picture(mode), "BMP")
    for mode in ["RGB", "L", "1", "RGBA", "CMYK", "P"]:
        yield f"tiff-{mode}", file(picture(mode), "TIFF")
    for how in ["tiff_lzw", "tiff_adobe_deflate", "packbits"]:
        yield f"tiff-{how}", file(rgb, "TIFF", compression=how)
    yield "tiff-group4", file(picture("1"), "TIFF", compression="group4")
    for orientation in [3, 6, 7]:
        yield f"tiff-orientation-{orientation}", file(rgb, "TIFF", tiffinfo={274: orientation})
    for mode in ["RGB", "L", "1"]:
        yield f"pnm-{mode}", file(picture(mode), "PPM")
    yield "pnm-plain", f"P2 # a comment\n{WIDTH} {HEIGHT}\n255\n".encode() + " ".join(map(str, gray.tobytes())).encode() + b"\n"
    yield "qoi", file(rgb, "QOI")
    yield "qoi-clear", file(picture("RGBA"), "QOI")
    # Readers of HEIC differ in how they spread colors over 2x2 pixels: here luma alone varies
    ramp = Image.new("RGB", (WIDTH, HEIGHT))
    ramp.putdata([(9 * x + 40, 9 * x + 20, 9 * x) for y in range(HEIGHT) for x in range(WIDTH)])
    yield "heic", file(ramp, "HEIF", quality=95)
    yield "heic-gray", file(smooth().convert("L"), "HEIF", quality=90)
    yield "png-clear", file(picture("RGBA"), "PNG")
    yield "png-clear-gray", file(picture("RGBA").convert("LA"), "PNG")
    yield "png-white-ink", file(white, "PNG"), flat(white, 0)
    yield "png-palette-trns", file(rgb.quantize(8), "PNG", transparency=3)
    yield "png-twelve-bit", *deep([(x * 199 + y * 7) % 4096 for y in range(HEIGHT) for x in range(WIDTH)], 4095)
    yield "png-sixteen-bit", *deep([(x * 3001 + y * 7) % 65536 for y in range(HEIGHT) for x in range(WIDTH)], 65535)
    yield "png-exif", png_with(plain, chunk(b"eXIf", tiff(6)))
    yield "png-exif-at-the-end", png_with(plain, chunk(b"eXIf", tiff(8)), at_end=True)
    yield "png-exif-long", png_with(plain, chunk(b"eXIf", tiff(5, ">", 4)))
    yield "png-xmp", png_with(plain, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + ATTRIBUTE))
    yield "png-xmp-packed", png_with(plain, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(ELEMENT)))
    yield "png-raw-profile", png_with(plain, chunk(b"tEXt", raw_profile(tiff(7))))
    yield "png-raw-profile-packed", png_with(plain, chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(tiff(4)).split(b"\0", 1)[1])))
    yield "png-bad-sum-of-text", png_with(plain, chunk(b"tEXt", b"Comment\0hello", check=1)), rgb
    yield "jpeg-exif-twice", app1(jpeg, b"Exif\0\0Exif\0\0" + tiff(6))
    yield "jpeg-exif-in-parts", app1(app1(jpeg, b"Exif\0\0" + tiff(6)[16:]), b"Exif\0\0" + tiff(6)[:16])
    yield "jpeg-xmp", app1(jpeg, b"http://ns.adobe.com/xap/1.0/\0" + ELEMENT)
    yield "jpeg-exif-before-xmp", app1(app1(jpeg, b"http://ns.adobe.com/xap/1.0/\0" + ATTRIBUTE), b"Exif\0\0" + tiff(1))
    yield "jpeg-cmyk", file(smooth().convert("CMYK"), "JPEG", quality=85)
    yield "jpeg-junk", jpeg[:first] + b"\0\0\x12\x34" + jpeg[first:]
    yield "jpeg-film-behind", jpeg + b"\0\0\0\x18ftypmp42" + bytes(range(256))
    yield "jpeg-film-and-no-end", jpeg[:-2] + b"\0\0\0\x18ftypmp42" + bytes(range(250)), Image.open(io.BytesIO(jpeg))
    yield "jpeg-no-end", jpeg[:-2], Image.open(io.BytesIO(jpeg))
    yield "jpeg-two-pictures", file(smooth(), "MPO", save_all=True, append_images=[rgb])
    yield "jpeg-progressive-film-behind", file(smooth(), "JPEG", progressive=True) + b"\0\0\0\x18ftypmp42" + bytes(99)
    yield "gif", gif(rgb.quantize(64))
    yield "gif-larger-than-its-screen", gif(rgb.quantize(64), (9, 7))
    yield "gif-without-a-screen", gif(rgb.quantize(64), (0, 0))
    yield "gif-interlaced", gif(rgb.quantize(64), interlace=True)


if __name__ == "__main__":
    lines = [f"# Pillow {PIL.__version__}, crates/taper-data/golden/formats.py"]
    for name, data, *made in cases():
        decoded = flat(made[0] if made else Image.open(io.BytesIO(data)))
        size = [decoded.width, decoded.height, len(decoded.getbands())]
        lines.append(" ".join(map(str, [name, *size, data.hex(), *decoded.tobytes()])))
    Path(__file__).with_name("formats.txt").write_text("\n".join(lines) + "\n")
