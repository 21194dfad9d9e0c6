"""Class names and colours."""

from __future__ import annotations

from everymask.core.labels import Labels


def test_classes_take_the_colours_of_their_names_in_another_set() -> None:
    mine = Labels(("cell", "dust", "hair"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    other = Labels(("hair", "cell"), ((30, 30, 30), (10, 10, 10)))
    coloured = mine.coloured_as(other)
    assert coloured.names == mine.names
    assert coloured.colours == ((10, 10, 10), (2, 2, 2), (30, 30, 30))
