import everymask as em
from everymask.classical.specs import Otsu

masks = em.load(Otsu(blur=2)).predict("photo.png")  # or em.load("otsu")
found = em.load("otsu").with_objects().predict("photo.png")
print(masks, len(found.instances))
