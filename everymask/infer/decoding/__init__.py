"""From what a network says to what a picture shows: arrays, compact and not decoded yet, and how they are decoded."""
