# %% [markdown]
# # Your own network and your own loop
#
# everymask's data sets are PyTorch's too, its masks and metrics are plain numpy. So a network and a loop of your own need nothing
# of its trainer: here are both in less than sixty lines.

# %%
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import everymask as em
from everymask.data.shapes import write_shapes
from everymask.metrics.semantic import SemanticMetric
from everymask.train.own_loop.torch_dataset import TorchDataset

drawn = write_shapes("data", train=160, val=20, size=64, vivid=True)
semantic = drawn.semantic()  # objects become label maps: background, square, circle, triangle
semantic.labels.names


# %% [markdown]
# A network: any module that turns pictures [B, 3, H, W] into logits [B, classes, H, W].


# %%
class Small(nn.Module):
    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()

        def block(before: int, after: int, stride: int = 1) -> nn.Sequential:
            conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())

        self.fine = block(3, width)
        self.coarse = nn.Sequential(
            *[block(width, width, 2) for _ in range(3)], nn.Upsample(scale_factor=8, mode="bilinear")
        )
        self.answer = nn.Conv2d(2 * width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.fine(x)
        return self.answer(torch.cat([fine, self.coarse(fine)], dim=1))


# %% [markdown]
# A loop: nothing is hidden. `map` holds the class ids; pixels without truth have the number `labels.ignore`.

# %%
torch.manual_seed(0)
loader = DataLoader(TorchDataset(semantic.split("train")), batch_size=16, shuffle=True, collate_fn=list)
network = Small(len(semantic.labels))
optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
for epoch in range(20):
    total = 0.0
    for items in loader:
        images = torch.stack([image for image, _ in items])
        maps = torch.stack([target["map"] for _, target in items])
        loss = cross_entropy(network(images), maps, ignore_index=semantic.labels.ignore)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}: loss {total / len(loader):.3f}")

# %% [markdown]
# Judged by the same metric as everything else.

# %%
network.eval()
metric = SemanticMetric(semantic.labels)
for (image, _), sample in zip(TorchDataset(semantic.split("val")), semantic.split("val"), strict=True):
    with torch.inference_mode():
        ids = network(image[None]).argmax(dim=1)[0].numpy()
    metric.update(em.SemanticMap(ids), sample.truth, sample)
print(metric.compute().sentence("20 held-out pictures"))
