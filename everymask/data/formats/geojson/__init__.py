"""GeoJSON in pixels of a picture, as QuPath exports its objects."""
