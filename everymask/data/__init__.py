"""Files to samples and back: one module per format. Only numpy, Pillow and OpenCV; never torch."""
