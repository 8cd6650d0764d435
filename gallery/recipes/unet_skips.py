"""A UNet's skips: what each of them carries, and what is lost without it. The network learns to take noise away."""

import torch
from _picture import INPUTS, out, row
from torch import nn
from torch.nn import functional as F

import viztool


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(a, 16, 3, 1, 1) for a in (3, 16, 16))
        self.up = nn.ModuleList(nn.Conv2d(32, a, 3, 1, 1) for a in (3, 16))

    def forward(self, x, without=None):
        fine = F.leaky_relu(self.down[0](x))
        coarse = F.leaky_relu(self.down[1](F.max_pool2d(fine, 2)))
        x = F.interpolate(F.leaky_relu(self.down[2](F.max_pool2d(coarse, 2))), scale_factor=2)
        x = F.interpolate(self.up[1](torch.cat([x, coarse * (without != 1)], 1)), scale_factor=2)
        return self.up[0](torch.cat([x, fine * (without != 0)], 1))


torch.manual_seed(0)
view = viztool.load_model(size=128).view(viztool.read_image(INPUTS / "cat.jpg"))
clean = torch.from_numpy(view).permute(2, 0, 1)[None] / 255
net, noisy = UNet(), clean + 0.2 * torch.randn_like(clean)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for _ in range(150):
    optimizer.zero_grad()
    F.mse_loss(net(clean + 0.2 * torch.randn_like(clean)), clean).backward()
    optimizer.step()
with torch.no_grad(), viztool.capture(net, "down.[01]", reduce=lambda maps: maps.abs().mean(1)) as acts:
    pictures = {"noisy": noisy, "cleaned": net(noisy)}
pictures |= {f"what skip {at} carries": acts[f"down.{at}"] for at in (0, 1)}
pictures |= {f"cleaned without skip {at}": net(noisy, at) for at in (0, 1)}
error = {title: F.mse_loss(each, clean).item() for title, each in pictures.items() if "clean" in title}
row(pictures, out())
