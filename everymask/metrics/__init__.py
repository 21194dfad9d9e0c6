"""Numbers that say how good a prediction is. Statistics before scores: update, merge, compute."""
