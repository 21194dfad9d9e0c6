import everymask as em

data = em.read_dataset("data")
truth = data[0]
result = em.Result(truth, truth.truth, data.labels)  # or model.predict("photo.png")

frame = result.to_pandas()  # a row per object: class, area, x1, y1, x2, y2, mask
large = em.Result.from_pandas(frame[frame["area"] > 100], truth, data.labels)
print(frame.groupby("class")["area"].mean(), len(large.instances))

target = result.to_torchvision()  # boxes, labels, masks, area, iscrowd: tensors
again = em.Result.from_torchvision(target, truth, data.labels)
result.to_pil().save("ids.png")  # which object each pixel belongs to
