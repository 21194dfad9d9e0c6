import everymask as em
from everymask.data.conversion.classes import change_classes
from everymask.data.formats.table import write_dataset
from everymask.data.splits import draw_split

dataset = change_classes(em.read_dataset("data"), {"square": "box", "circle": ""})
drawn = draw_split(dataset, seed=0, fractions=(("train", 0.75), ("val", 0.25)))
print(drawn.splits(), drawn.labels.names)

write_dataset("divided", drawn, "coco")
