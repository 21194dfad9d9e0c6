"""Parts of the page: pictures, each with one plain sentence, and tables of shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from everymask.core.arrays import ByteArray, FloatArray
from everymask.inspection.drawing import heat
from everymask.models.steps import FeatureMap
from everymask.viz.charts import escaped, folded
from everymask.viz.parts import picture_uri

_CHANNELS = 8
_THUMB = 220


def panel(title: str, sentence: str, picture: ByteArray) -> str:
    """A picture [H, W, 3] under its title and one sentence."""
    return (
        f'<div class="panel"><h3>{escaped(title)}</h3><p>{escaped(sentence)}</p>'
        f'<img src="{picture_uri(picture)}" alt="{escaped(title)}"></div>'
    )


def panels(parts: Sequence[str]) -> str:
    """Panels beside each other; one alone is as wide as its picture."""
    alone = ' style="max-width:520px"' if len(parts) == 1 else ""
    return f'<div class="panels"{alone}>{"".join(parts)}</div>' if parts else ""


def lead(sentence: str) -> str:
    """What a section shows, in one sentence."""
    return f'<p class="chosen">{escaped(sentence)}</p>'


def shots(pictures: Iterable[tuple[str, ByteArray]]) -> str:
    """Small pictures beside each other, each with a few words."""
    figures = "".join(
        f'<figure><img src="{picture_uri(picture)}" alt="{escaped(words)}"><figcaption>{escaped(words)}</figcaption>'
        "</figure>"
        for words, picture in pictures
    )
    return f'<div class="shots">{figures}</div>'


def maps_section(maps: Sequence[FeatureMap]) -> str:
    """What the parts of a network give: each map by its mean strength, and folded its most varied channels."""
    if not maps:
        return ""
    parts = [lead("Bright is where the channels of a map are strong on average; each square is one place of the map.")]
    tiles = []
    for each in maps:
        channels, height, width = each.values.shape
        tiles.append(
            panel(
                each.name,
                f"{channels} channels at {height} x {width} places, one for {each.stride} pixels of the picture above.",
                heat(abs(each.values).mean(axis=0)),
            )
        )
    single = [
        folded(f"{each.name}: the {min(_CHANNELS, len(each.values))} channels that vary most", shots(_varied(each)))
        for each in maps
    ]
    return "".join([*parts, panels(tiles), *single])


def _varied(each: FeatureMap) -> list[tuple[str, ByteArray]]:
    spread = each.values.std(axis=(1, 2))
    chosen = (-spread).argsort(kind="stable")[:_CHANNELS].tolist()
    return [(f"channel {channel}", heat(each.values[channel], side=_THUMB)) for channel in chosen]


def share_table(rows: Sequence[str], columns: Sequence[str], shares: FloatArray, corner: str) -> str:
    """A table of `shares` [R, C] in 0-1, each cell as deep as its share."""
    head = "".join(f'<th scope="col"><span>{escaped(name)}</span></th>' for name in columns)
    lines = []
    for name, values in zip(rows, shares.tolist(), strict=True):
        cells = "".join(
            f'<td class="right{" strong" if value > 0.55 else ""}" style="--share:{100 * value:.0f}%">{value:.2f}</td>'
            for value in values
        )
        lines.append(f'<tr><th scope="row">{escaped(name)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="heat"><tr><th class="corner">{escaped(corner)}</th>{head}</tr>'
        f"{''.join(lines)}</table></div>"
    )
