"""From samples to what a network is fed: varied for training, resized, normalised, cut out.

Two words have one meaning each here. A `window` is a rectangle of whole pixels of a stored picture: x1, y1, x2, y2, the
last two exclusive. A `Placement` says where a picture lies in the frame of the network.
"""
