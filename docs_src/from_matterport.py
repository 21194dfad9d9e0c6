from pathlib import Path

import numpy as np

import everymask as em
from everymask.data.records import Annotation, Objects, Record, Rle


def record(picture: Path, masks: np.ndarray, class_ids: np.ndarray) -> Record:
    """What load_mask returned for a picture: masks [H, W, N] bool, and N classes, counted from 0 and not from 1."""
    counts = em.Masks.from_dense(np.moveaxis(masks, 2, 0)).to_rle()
    shapes = [Annotation(int(kind), Rle(runs)) for kind, runs in zip(class_ids, counts, strict=True)]
    return Record(picture.stem, picture, masks.shape[:2], Objects(tuple(shapes)))


records = []
for sample in em.read_dataset("data"):  # stands for your own loop over pictures
    masks = np.stack([sample.truth.masks.to_dense(row) for row in range(len(sample.truth))], axis=2)
    records.append(record(Path(sample.file), masks, sample.truth.class_ids))
labels = em.read_dataset("data").labels  # or labels_of(["balloon"]): background is no class
dataset = em.Dataset(labels, records, "load_mask", Path("data"))

config = em.TrainConfig(data="data", out="runs/heads", model="mask-rcnn-small", layers="heads", epochs=20)
em.train(config, dataset=dataset)  # was: model.train(..., layers="heads")

model = em.load("runs/heads")
result = model.predict("photo.png")  # was: model.detect([image])[0]; result.show() was display_instances
found = result.instances[result.instances.scores >= 0.7]  # was: DETECTION_MIN_CONFIDENCE
print(found.boxes, found.class_ids, found.scores)  # x1, y1, x2, y2; were y1, x1, y2, x2
result.save("found.png")
