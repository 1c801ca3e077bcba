"""Training of one vision transformer's layer norms and a linear head, everything else frozen, in PyTorch: forward,
backward and a step of Adam on random images. One JSON line.

    norms.py vit_small_patch14_dinov2 [--side 224] [--batch 16] [--classes 10] [--seconds 6]

Needs torch and timm. Weights are random: only the speed counts.
"""
from common import parser, rate, report, setup

p = parser(description=__doc__.splitlines()[0])
p.add_argument("network")
p.add_argument("--side", type=int, default=224)
p.add_argument("--batch", type=int, default=16)
p.add_argument("--classes", type=int, default=10)
args = p.parse_args()
torch = setup(args)
import timm
net = timm.create_model(args.network, pretrained=False, num_classes=args.classes, img_size=args.side)
for name, q in net.named_parameters():
    q.requires_grad_("norm" in name or name.startswith("head."))
opt = torch.optim.Adam([q for q in net.parameters() if q.requires_grad], lr=1e-3)
x = torch.rand(args.batch, 3, args.side, args.side)
y = torch.randint(args.classes, (args.batch,))
def step():
    opt.zero_grad()
    torch.nn.functional.cross_entropy(net(x), y).backward()
    opt.step()
r, _ = rate(step, args.seconds)
report(args, work="norms", network=args.network, side=args.side, images_per_second=round(r * args.batch, 3))
