import everymask as em
from everymask.data.formats.coco.instances import write_coco

dataset = em.read_dataset("data")
print(dataset.format, len(dataset), "pictures:", dataset.splits(), dataset.labels.names)

sample = dataset[0]  # decoded now, not before
print(sample.id, sample.image.shape, len(sample.truth), "objects")

write_coco("copy", dataset.split("val"))
