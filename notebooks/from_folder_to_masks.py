# %% [markdown]
# # From an annotated folder to masks
#
# The whole way in Python: look at the data, train for a minute, judge, predict. The pictures are drawn, so that nothing is fetched;
# in your notebook `data` is the folder that your annotation tool wrote.

# %%
from PIL import Image

import everymask as em
from everymask.data.shapes import write_shapes
from everymask.viz.draw import draw_instances

write_shapes("data", train=120, val=20, size=96, vivid=True)
dataset = em.read_dataset("data")
dataset

# %% [markdown]
# What was understood? Always look before you train: the first picture, with its objects.

# %%
sample = dataset[0]
Image.fromarray(draw_instances(sample.image, sample.truth, dataset.labels, side=320))

# %% [markdown]
# Training decides whatever is not said, for this machine and this time, and says why. Weights that know pictures would help; here
# training begins from random ones.

# %%
run = em.train(em.TrainConfig(data="data", out="runs/first", time_limit="90s", weights="none", workers=0))
run.folder

# %% [markdown]
# How good is it, on pictures that it has not seen? A mask AP50 of 1 is perfect. The same numbers stand in `report.html`, with the
# worst pictures.

# %%
model = em.load("runs/first")
report = em.evaluate(model, "data", split="val")
print(report)

# %% [markdown]
# A new picture. A result draws itself; its rows make a table.

# %%
photo = next(record.image for record in dataset.split("val").records)
result = model.predict(photo)
result.show()

# %%
for row in result.table():
    print(row)

# %% [markdown]
# Masks are stored as the small rectangles in which they live, so that thousands of them stay small. `to_dense` gives one as an array
# of booleans of the picture's size.

# %%
sure = result.instances[result.instances.scores > 0.5]
print(len(sure), "objects of", sure.masks.areas().tolist(), "pixels")
[sure.masks.to_dense(row).shape for row in range(len(sure))]
