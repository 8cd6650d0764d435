"""A GAN's generator: between two codes, what changes in each layer? Here one that was fitted to six photos."""

import torch
from _picture import INPUTS, out, row
from torch import nn

import viztool

torch.manual_seed(0)
model = viztool.load_model(size=32)
photos = [model.view(viztool.read_image(path)) for path in sorted(INPUTS.glob("*.jpg"))]
real = torch.stack([torch.from_numpy(photo).permute(2, 0, 1) / 255 for photo in photos])


def block(a, b):
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, padding=1), nn.LeakyReLU(0.2))


generator = nn.Sequential(nn.ConvTranspose2d(16, 64, 4), block(64, 64), block(64, 32), block(32, 16))
generator.append(nn.Sequential(nn.Conv2d(16, 3, 3, padding=1), nn.Sigmoid()))
codes = torch.randn(6, 16, 1, 1)
optimizer = torch.optim.Adam(generator.parameters(), lr=0.005)
for _ in range(300):
    optimizer.zero_grad()
    loss = (generator(codes) - real).square().mean()
    loss.backward()
    optimizer.step()

cat, rocket = codes[2], codes[5]
between = torch.stack([cat.lerp(rocket, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)])
with torch.no_grad(), viztool.capture(generator, "?") as acts:
    made = generator(between)
change = {layer: (acts[layer][0] - acts[layer][4]).abs().mean(0) for layer in ("0", "1", "2", "3")}
pictures = {f"{100 * share:.0f} % of the way": picture for share, picture in zip((0, 0.5, 1), made[::2], strict=True)}
row(pictures | {f"changes in layer {layer}": maps for layer, maps in change.items()}, out())
