import everymask as em

sample = em.read_dataset("data")[0]
objects = sample.truth

large = objects[objects.masks.areas() > 100]  # index with booleans, integers or a slice
print(large.boxes)  # [N, 4] float32: x1, y1, x2, y2 in pixels, x2 and y2 exclusive
print(large.masks.iou(objects.masks).round(2))  # [N, M]

first = objects.masks.to_dense(0)  # one mask as [H, W] bool
print(first.shape, first.sum(), objects.masks.areas()[0])
