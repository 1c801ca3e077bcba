"""PyTorch's optimizers and schedules over 100 steps of a made-up quadratic, f64.

python crates/taper-learn/golden/optimizers.py > crates/taper-learn/golden/optimizers.json
"""

import json

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR, SequentialLR

STEPS = 100
START = [1.0, -2.0, 0.5, 3.0]
CURVATURE = [1.0, 0.1, 10.0, 0.5]


def trajectory(make):
    """Every tenth point, the gradient being curvature times the point plus a sine of the step."""
    w = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = make([w])
    points = []
    for step in range(STEPS):
        w.grad = torch.tensor(CURVATURE, dtype=torch.float64) * w.detach() + torch.sin(torch.tensor(float(step)))
        optimizer.step()
        if step % 10 == 9:
            points.append(w.detach().tolist())
    return points


def factors(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimizer)
    found = []
    for step in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < STEPS:
            schedule.step()
    return found


def warm_up_then(make):
    return lambda o: SequentialLR(o, [LinearLR(o, 1 / 11, 1.0, total_iters=10), make(o)], milestones=[10])


sgd, adam, adamw = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
print(
    json.dumps(
        {
            "start": START,
            "curvature": CURVATURE,
            "optimizers": [
                {"optimizer": {"name": name, **told}, "rate": rate, "points": trajectory(make)}
                for name, told, rate, make in [
                    ("sgd", {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}, 0.05, lambda p: sgd(p, 0.05)),
                    ("sgd", {"momentum": 0.9, "nesterov": False, "weight_decay": 0.01}, 0.02,
                     lambda p: sgd(p, 0.02, momentum=0.9, weight_decay=0.01)),
                    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, 0.02,
                     lambda p: sgd(p, 0.02, momentum=0.9, weight_decay=0.01, nesterov=True)),
                    ("adam", {"weight_decay": 0.0}, 0.05, lambda p: adam(p, 0.05)),
                    ("adam", {"weight_decay": 0.1}, 0.05, lambda p: adam(p, 0.05, weight_decay=0.1)),
                    ("adam-w", {"weight_decay": 0.1}, 0.05, lambda p: adamw(p, 0.05, weight_decay=0.1)),
                ]
            ],
            "schedules": [
                {"schedule": schedule, "factors": factors(make)}
                for schedule, make in [
                    ({"name": "constant"}, lambda o: LambdaLR(o, lambda _: 1.0)),
                    ({"name": "cosine", "warmup": 0}, lambda o: CosineAnnealingLR(o, STEPS)),
                    ({"name": "cosine", "warmup": 10}, warm_up_then(lambda o: CosineAnnealingLR(o, STEPS - 10))),
                    ({"name": "one-cycle"}, lambda o: OneCycleLR(o, 1.0, total_steps=STEPS)),
                ]
            ],
        }
    )
)
