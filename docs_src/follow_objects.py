import numpy as np

import everymask as em
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM2, prompted_labels, prompted_preprocess

# In place of published weights, which em.load("sam2.1-t") fetches: a small network that has learned nothing.
network = PromptedNetwork(SAM2(side=64, memory="2.1"))
save_model("sam2.safetensors", network, Card(network.spec, prompted_labels(), prompted_preprocess(network.spec)))

frames = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), dtype=np.uint8)  # or "clip.mp4", or a folder
video = em.load("sam2.safetensors").video(frames)
video.prompt(1, 0, points=[[20, 30]])  # object 1 in frame 0
video.prompt(2, 3, box=[5, 5, 40, 40])  # object 2 in frame 3
for tracked in video.propagate():
    print(tracked.frame, tracked.objects.ids, "hidden:", tracked.hidden)
    if tracked.frame == 5:
        video.remove(2)
