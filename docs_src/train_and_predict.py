import everymask as em

run = em.train(em.TrainConfig(data="data", out="runs/a", model="mask-rcnn", encoder="resnet18", epochs=20))

model = em.load("runs/a")
result = model.predict("photo.png")
sure = result.instances[result.instances.scores > 0.8]
print(f"{len(sure)} objects, the largest of {sure.masks.areas().max(initial=0)} pixels")
result.save("photo_masks.png")

report = em.evaluate(model, "data", split="val")  # the pictures that training held out
print(report)
