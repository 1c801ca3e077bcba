"""Training of a whole network with a head of two layers, or of a vision transformer's layer norms and a linear head, in
PyTorch: forward, backward and a step of Adam on random images. One JSON line.

    fine_tune.py tf_efficientnet_lite0 [--side 224] [--batch 32] [--classes 10] [--channels-last] [--seconds 6]
    fine_tune.py vit_small_patch14_dinov2 --norms [--side 224] [--batch 16] [--classes 10] [--seconds 6]

Needs torch and timm. Weights are random: only the speed counts.
"""
from common import parser, rate, report, setup

p = parser(description=__doc__.splitlines()[0])
p.add_argument("network")
p.add_argument("--side", type=int, default=224)
p.add_argument("--batch", type=int, default=32)
p.add_argument("--classes", type=int, default=10)
p.add_argument("--channels-last", action="store_true")
p.add_argument("--norms", action="store_true")
args = p.parse_args()
torch = setup(args)
import timm
nn = torch.nn
if args.norms:
    net = timm.create_model(args.network, pretrained=False, num_classes=args.classes, img_size=args.side)
    for name, q in net.named_parameters():
        q.requires_grad_("norm" in name or name.startswith("head."))
else:
    body = timm.create_model(args.network, pretrained=False, num_classes=0)
    head = nn.Sequential(nn.Linear(body.num_features, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, args.classes))
    net = nn.Sequential(body, head).train()
x = torch.rand(args.batch, 3, args.side, args.side)
y = torch.randint(args.classes, (args.batch,))
if args.channels_last:
    net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
opt = torch.optim.Adam([q for q in net.parameters() if q.requires_grad], lr=1e-4)
def step():
    opt.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    opt.step()
r, _ = rate(step, args.seconds)
report(args, work="norms" if args.norms else "fine-tune", network=args.network, side=args.side, channels_last=args.channels_last,
       images_per_second=round(r * args.batch, 3))
