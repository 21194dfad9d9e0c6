# %% [markdown]
# # Mask R-CNN, looked at step by step
#
# What happens between the picture and the masks: anchors, proposals, box regression, classes, masks. `everymask inspect` makes a
# page of it; here are the arrays.

# %%
import numpy as np
from PIL import Image

import everymask as em
from everymask.core.segmentation import InstanceSet
from everymask.data.shapes import write_shapes
from everymask.inspection.inspecting import inspect
from everymask.viz.draw import draw_instances

data = write_shapes("data", train=120, val=20, size=96, vivid=True)
em.train(em.TrainConfig(data="data", out="runs/first", time_limit="90s", weights="none", workers=0))
photo = next(record.image for record in data.split("val").records)

# %% [markdown]
# One look into the network, in float32 on the processor, keeps every step.

# %%
seen = inspect("runs/first", photo, data=data)
regions = seen.steps.regions
print("the picture as it is fed:", seen.fed.shape)
print("proposals of the RPN:", regions.proposals.shape)
print("boxes that are left:", regions.boxes.shape)

# %% [markdown]
# The RPN proposes many boxes around everything that looks like an object; here the thirty of which the second stage thinks most.

# %%
shown = np.ascontiguousarray(seen.sample.image)


def draw_boxes(boxes: np.ndarray) -> Image.Image:
    """Boxes xyxy in the frame of the network on the picture."""
    placement = seen.prepared.placement
    scale = placement.original[1] / placement.resized[1]
    found = InstanceSet((boxes * scale).astype(np.float32), np.zeros(len(boxes), np.int64))
    return Image.fromarray(draw_instances(shown, found, em.Labels(("box",)), names=False, side=320))


draw_boxes(regions.proposals[np.argsort(regions.class_scores[:, 0])[:30]])

# %% [markdown]
# The second stage looks at each proposal again, says what it is, and moves its box. Of those that overlap, the surest stays.

# %%
draw_boxes(regions.boxes[regions.scores > 0.3])

# %% [markdown]
# The mask head draws a mask of 28 x 28 cells in each box that is left, which is pasted into the picture.

# %%
seen.result.show()
