"""How well objects are followed through a video: J and F of the DAVIS benchmark."""
