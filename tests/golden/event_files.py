"""Reads the event files of a run with TensorBoard itself and compares them with the run's metrics.jsonl.

    python3 -m venv /tmp/venv-report && /tmp/venv-report/bin/pip install tensorboard
    taper meta-train --steps 40 --meta-batch-size 1 --backbone conv4-8 --tensorboard --out /tmp/run
    /tmp/venv-report/bin/python tests/golden/event_files.py /tmp/run

Prints the number of scalars of each stage and tag, and exits with 1 if any differs.
"""

import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = pathlib.Path(sys.argv[1])
expected = {}
for line in (run / "metrics.jsonl").read_text().splitlines():
    event = json.loads(line)
    if "stage" not in event:
        continue
    for name, value in event.items():
        if name not in ("step", "steps", "seconds") and type(value) in (int, float):
            tag = "validation" if name == "score" else name
            single = struct.unpack("f", struct.pack("f", value))[0]
            expected.setdefault((event["stage"], tag), []).append((event["step"], single))

found = {}
for folder in sorted((run / "tensorboard").iterdir()):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    for tag in events.Tags()["scalars"]:
        found[folder.name, tag] = [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]

for key in sorted(expected.keys() | found.keys()):
    same = expected.get(key) == found.get(key)
    print(*key, len(found.get(key, [])), "scalars", "as in metrics.jsonl" if same else "DIFFER")
sys.exit(0 if expected and expected == found else 1)
