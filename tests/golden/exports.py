"""Exported classifiers against Taper's own predictions, in onnxruntime, timm and transformers.

    pip install onnx onnxruntime pillow timm torch torchvision transformers safetensors
    python tests/golden/exports.py TAPER SCRATCH MODEL=IMAGES ...

TAPER is the program, SCRATCH a folder for what it writes, each MODEL a kept classifier and IMAGES a folder of images to
classify. For every model:

- ONNX's checker accepts the file with preprocessing, the bare one and the one with 16-bit weights;
- on images that have the network's size already, log-probabilities agree within 1e-4 (0.05 if the transform resizes
  them even so, because onnxruntime may then round a level of 8 bits to the other side);
- on all images, of any size, probabilities agree within 0.01, and so does the likeliest class but for ties;
- where the file tells foreign images, the share of known images that look as foreign differs by at most two of them, and
  the sets for 90% are those of `taper predict --set 90%` but for classes on the edge;
- timm and transformers, where they have the network, give the bare graph's logits within 1e-4.
"""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageOps

TOLERANCE = 1e-4


def taper(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def predictions(program, model, images):
    """Each image's probabilities by class name."""
    events = taper(program, "predict", model, *images, "--json")
    made = [event for event in events if event["event"] == "prediction"]
    return {p["image"]: {c["class"]: c["probability"] for c in p["classes"]} for p in made}


def trust(program, model, run, labels, files, channels):
    """Prints how familiarity and sets agree; `None` if the file has neither."""
    outputs = {output.name for output in run.get_outputs()}
    if "familiarity" not in outputs:
        return print(f"{model}: no labeled images are kept, so the file does not tell foreign images from known ones")
    events = taper(program, "predict", model, *files, "--set", "90%", "--json")
    ours = {event["image"]: event for event in events if event["event"] == "prediction"}
    held_out = int(run.get_modelmeta().custom_metadata_map["held_out"])
    steps, sets = 0.0, 0
    for file in files:
        want = ours[str(file)]
        familiarity, p_values = run.run(["familiarity", "p_values"], {"images": pixels(file, channels)})
        steps = max(steps, abs(float(familiarity[0]) - want["familiarity"]))
        made = {label for label, p in zip(labels, p_values[0]) if p > 0.1}
        sets += made != set(want["set"])
        # a class on the edge may be one held-out image further
        edge = {label for label, p in zip(labels, p_values[0]) if abs(p - 0.1) <= 1.5 / (held_out + 1)}
        assert made ^ set(want["set"]) <= edge, f"the set of {file}"
    smallest = min(event["familiarity"] for event in ours.values())
    print(f"{model}: familiarity within {steps:.4f} (the smallest is {smallest:.4f}), {sets} of {len(files)} sets differ")
    assert steps <= 2.5 / (held_out + 1), "familiarity"


def session(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def pixels(path, channels):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB" if channels == 3 else "L")
    return np.asarray(image).reshape(1, image.height, image.width, channels)


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def agree(ours, run, labels, files, channels):
    """The largest differences of probabilities and of their logarithms, the classes that differ, and ties."""
    most, most_log, differ, ties = 0.0, 0.0, 0, 0
    for file in files:
        want = np.array([ours[str(file)][label] for label in labels])
        probabilities, logits = run.run(["probabilities", "logits"], {"images": pixels(file, channels)})
        most = max(most, np.abs(probabilities[0] - want).max())
        likely = want > 1e-6
        most_log = max(most_log, np.abs(log_softmax(logits)[0] - np.log(np.maximum(want, 1e-30)))[likely].max())
        if probabilities[0].argmax() != want.argmax():
            first, second = np.sort(want)[-1], np.sort(want)[-2]
            differ, ties = differ + 1, ties + int(first - second < 0.02)
    return most, most_log, differ, ties


def exact_images(scratch, files, shape):
    """Middles of images in the network's size, as they are."""
    _, height, width = shape
    made = []
    for number, file in enumerate(files[:20]):
        path = scratch / f"exact-{number}.png"
        ImageOps.fit(Image.open(file).convert("RGB"), (width, height)).save(path)
        made.append(path)
    return made


def foreign_logits(program, name, path, inputs):
    import torch

    with torch.no_grad():
        if program == "timm":
            import timm

            network = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
            return network(torch.from_numpy(inputs)).numpy(), network.pretrained_cfg["label_names"]
        from transformers import AutoModelForImageClassification

        network = AutoModelForImageClassification.from_pretrained(path).eval()
        labels = [network.config.id2label[k] for k in range(len(network.config.id2label))]
        return network(torch.from_numpy(inputs)).logits.numpy(), labels


def foreign_inputs(program, path, file):
    image = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    if program == "timm":
        import timm

        network = timm.create_model(f"local-dir:{path}", pretrained=True)
        config = timm.data.resolve_model_data_config(network)
        return timm.data.create_transform(**config, is_training=False)(image)[None].numpy()
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(path, use_fast=False)(image, return_tensors="np")["pixel_values"]


def check(program, scratch, model, images):
    name = pathlib.Path(model).name
    out = scratch / name
    out.mkdir(parents=True, exist_ok=True)
    whole, bare = out / "whole.onnx", out / "bare.onnx"
    taper(program, "export", model, "--out", whole, "--force")
    taper(program, "export", model, "--out", bare, "--bare", "--force")
    run, run_bare = session(whole), session(bare)
    metadata = run.get_modelmeta().custom_metadata_map
    labels, shape = json.loads(metadata["labels"]), tuple(json.loads(metadata["input"]))
    channels = run.get_inputs()[0].shape[3]

    files = sorted(file for file in pathlib.Path(images).rglob("*") if file.suffix in (".jpg", ".png"))
    ours = predictions(program, model, files)
    most, _, differ, ties = agree(ours, run, labels, files, channels)
    sizes = len({Image.open(file).size for file in files})
    print(f"{name}: {len(files)} images of {sizes} sizes: probabilities within {most:.5f}, "
          f"{differ} classes differ, {ties} of them ties")
    assert most <= 0.01 and differ == ties, "preprocessing inside"
    trust(program, model, run, labels, files, channels)
    for bits, option in ((16, "--half"), (8, "--int8")):
        small = out / f"{bits}.onnx"
        taper(program, "export", model, "--out", small, option, "--force")
        most_small, _, differ_small, _ = agree(ours, session(small), labels, files, channels)
        print(f"{name}: {bits}-bit weights, {small.stat().st_size / 1e6:.1f} of {whole.stat().st_size / 1e6:.1f} MB: "
              f"probabilities within {most_small:.5f}, {differ_small} classes differ")
        assert differ_small <= (0.01 if bits == 16 else 0.1) * len(files) and (bits == 8 or most_small <= 0.03), f"{bits} bits"

    exact = exact_images(out, files, shape)
    ours = predictions(program, model, exact)
    exact = [file for file in exact if str(file) in ours]  # a drawing may be too faint in this size
    assert len(exact) >= 10
    apart = [agree(ours, run, labels, [file], channels)[1] for file in exact]
    print(f"{name}: {len(exact)} images of its own size: log-probabilities within {max(apart):.2e}, "
          f"of {sum(one <= TOLERANCE for one in apart)} within {TOLERANCE}")
    # where even such images are resized, a level on the edge between two may be rounded to the other
    steps = metadata["transform"]
    short = re.search(r"resize-short\((\d+)", steps)
    resized = "frame(" in steps or (short is not None and int(short[1]) != min(shape[1:]))
    assert max(apart) <= (0.05 if resized else TOLERANCE), "logits"

    # a batch is its images
    pair = np.concatenate([pixels(file, channels) for file in exact[:2]])
    together = run.run(["logits"], {"images": pair})[0]
    apart = np.concatenate([run.run(["logits"], {"images": image[None]})[0] for image in pair])
    assert np.abs(together - apart).max() <= TOLERANCE, "batch"

    for other in ("timm", "transformers"):
        folder = out / other
        done = subprocess.run([program, "export", model, "--format", other, "--out", str(folder), "--force"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            print(f"{name}: {other}: {done.stderr.strip()}")
            continue
        # the kept directory itself is timm's, too
        kept = pathlib.Path(model) / "model"
        kept = kept if kept.is_dir() else pathlib.Path(model)
        for path in [folder] + ([kept] if other == "timm" else []):
            inputs = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
            theirs, their_labels = foreign_logits(other, name, path, inputs)
            ours = run_bare.run(["logits"], {"inputs": inputs})[0]
            prepared, _ = foreign_logits(other, name, path, foreign_inputs(other, path, files[0]))
            with_ours = run.run(["logits"], {"images": pixels(files[0], channels)})[0]
            print(f"{name}: {other} of {path}: logits within {np.abs(theirs - ours).max():.2e}; "
                  f"with its own preprocessing within {np.abs(prepared - with_ours).max():.2e}")
            scale = max(1.0, np.abs(ours).max())
            assert np.abs(theirs - ours).max() <= TOLERANCE * scale and list(their_labels) == labels


def main():
    program, scratch, *pairs = sys.argv[1:]
    for pair in pairs:
        model, images = pair.split("=")
        check(program, pathlib.Path(scratch), model, images)


if __name__ == "__main__":
    main()
