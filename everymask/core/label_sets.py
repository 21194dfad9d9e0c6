"""The classes of well-known data sets, in the order of their ids, and their own colours where they have some."""

from __future__ import annotations

from everymask.core.labels import Labels, labels_of

_COCO_CLASSES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, -, stop "
    "sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, -, "
    "backpack, umbrella, -, -, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball "
    "bat, baseball glove, skateboard, surfboard, tennis racket, bottle, -, wine glass, cup, fork, knife, spoon, "
    "bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted "
    "plant, bed, -, dining table, -, -, toilet, -, tv, laptop, mouse, remote, keyboard, cell phone, microwave, "
    "oven, toaster, sink, refrigerator, -, book, clock, vase, scissors, teddy bear, hair drier, toothbrush "
)

VOC_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The twenty classes of the Pascal VOC challenges; in label maps background comes before them."""
COCO_STUFF = (
    "banner", "blanket", "bridge", "cardboard", "counter", "curtain", "door-stuff", "floor-wood", "flower", "fruit",
    "gravel", "house", "light", "mirror-stuff", "net", "pillow", "platform", "playingfield", "railroad", "river",
    "road", "roof", "sand", "sea", "shelf", "snow", "stairs", "tent", "towel", "wall-brick", "wall-stone", "wall-tile",
    "wall-wood", "water-other", "window-blind", "window-other", "tree-merged", "fence-merged", "ceiling-merged",
    "sky-other-merged", "cabinet-merged", "table-merged", "floor-other-merged", "pavement-merged", "mountain-merged",
    "grass-merged", "dirt-merged", "paper-merged", "food-other-merged", "building-other-merged", "rock-merged",
    "wall-other-merged", "rug-merged",
)  # fmt: skip
"""The 53 kinds of stuff of COCO's panoptic segmentation."""
CAMVID = Labels(
    (
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    ),
    (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip
"""CamVid in SegNet's split: eleven classes. Source: Badrinarayanan et al. 2017, "SegNet"."""
CITYSCAPES = Labels(
    (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip
"""The nineteen classes of Cityscapes that train, by train id. Source: Cordts et al. 2016."""
ADE20K = labels_of(
    (
        "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
        "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
        "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
        "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
        "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path",
        "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge", "bookcase",
        "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove", "palm",
        "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light",
        "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television receiver", "airplane",
        "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet", "poster",
        "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool",
        "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank",
        "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture",
        "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor",
        "bulletin board", "shower", "radiator", "glass", "clock", "flag",
    )
)  # fmt: skip
"""The 150 classes of ADE20K's scene parsing benchmark. Source: Zhou et al. 2017."""


def coco_labels() -> Labels:
    """COCO's 90 category ids in order, minus one; the ten that it never uses are called "unused 12" and so on."""
    names = _COCO_CLASSES.strip().split(", ")
    return labels_of(name if name != "-" else f"unused {number}" for number, name in enumerate(names, start=1))


def coco_80_labels() -> Labels:
    """The 80 classes that COCO uses, in the order of their ids."""
    return labels_of(name for name in _COCO_CLASSES.strip().split(", ") if name != "-")


def voc_labels() -> Labels:
    """Background, then Pascal VOC's 20 classes in order."""
    return labels_of(("background", *VOC_NAMES))


def coco_names() -> tuple[str, ...]:
    """The 80 classes of COCO's objects, in the order of their ids."""
    return tuple(name for name in _COCO_CLASSES.strip().split(", ") if name != "-")


def coco_panoptic_labels() -> Labels:
    """COCO's 133 classes of panoptic segmentation: its 80 things, then 53 kinds of stuff, in the order of their ids."""
    names = coco_names()
    return Labels((*names, *COCO_STUFF), things=frozenset(range(len(names))))
