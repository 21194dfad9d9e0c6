import torch

import everymask as em
from everymask.infer.prompted.everything import Everything
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM

# In place of published weights, which em.load("mobile-sam") fetches: a small network that has learned nothing.
torch.save(PromptedNetwork(SAM(encoder="vit_t", side=64)).state_dict(), "sam.pth")

session = em.load("sam.pth").session("photo.png")
first = session.predict(points=[[20, 30]])  # (x, y) in pixels
better = session.predict(points=[[40, 30]], labels=[0])  # that is not part of it
session.undo()
boxed = session.predict(boxes=[[5, 5, 40, 40], [30, 20, 60, 60]])  # two new objects
print(boxed.table())

found = em.load("sam.pth").everything("photo.png", Everything(points=4, min_score=0.0))
found.save("everything.png")
