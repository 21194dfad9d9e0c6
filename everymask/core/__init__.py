"""The nouns: labels, samples, masks, segmentations. Only numpy."""
