"""Pictures and pages: objects drawn on images, charts, the report of a run. Only numpy, Pillow and OpenCV."""
