"""The frame of a report: head, style, header, table of contents, sections."""

from __future__ import annotations

from collections.abc import Sequence

from everymask.viz.charts import escaped

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #fff; --ink: #1b1f27; --soft: #5a6372; --rule: #e1e5ea; --accent: #2563eb; --bad: #dc2626;
  --s0: #2563eb; --s1: #ea580c; --s2: #059669; --s3: #9333ea;
  --s4: #db2777; --s5: #0891b2; --s6: #b58100; --s7: #64748b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161b; --card: #1d2027; --ink: #e8eaee; --soft: #9aa3b2; --rule: #31363f; --accent: #6ea8ff;
    --bad: #f87171;
    --s0: #6ea8ff; --s1: #ff9f5a; --s2: #3ddc97; --s3: #c08bff;
    --s4: #ff7ab6; --s5: #3fd0e6; --s6: #f0c541; --s7: #a3b0c2;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main, header, footer { max-width: 1160px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 28px; }
header p { margin: 4px 0 0; color: var(--soft); }
footer { padding: 32px 16px; color: var(--soft); font-size: .85rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.2rem; margin: 36px 0 12px; }
h3 { font-size: 1rem; margin: 0; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-top: 12px; font-size: .9rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
dl, dd, ul, figure { margin: 0; padding: 0; }
ul { list-style: none; }
.grid, .panels {
  display: grid; gap: 16px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
}
.grid > figure:only-child { max-width: 640px; }
.grid > figure, .panel, .card, .facts, .classes, .wide, .issues {
  background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
}
.grid > figure, .panel { padding: 14px 16px; min-width: 0; }
figcaption { font-weight: 600; font-size: .95rem; margin-bottom: 6px; }
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.card { padding: 12px 16px; }
.card dt { color: var(--soft); font-size: .85rem; }
.card dd { font-size: 1.75rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card dd.note { font-size: .8rem; font-weight: 400; color: var(--soft); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; }
svg .grid { stroke: var(--rule); fill: none; }
svg .tick { stroke: var(--soft); fill: none; }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg.key { display: inline-block; width: 22px; height: 10px; margin-right: 6px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: .82rem; color: var(--soft); }
.bars li {
  display: grid; grid-template-columns: minmax(0, 10rem) 1fr auto; gap: 10px; align-items: center;
  font-size: .88rem; padding: 2px 0;
}
.bars .track { background: var(--rule); border-radius: 4px; height: 10px; }
.bars .bar { display: block; height: 10px; border-radius: 4px; background: var(--accent); min-width: 2px; }
.bars .value, td { font-variant-numeric: tabular-nums; text-align: right; }
.facts { columns: 2 420px; column-gap: 32px; padding: 10px 16px; font-size: .9rem; margin-bottom: 16px; }
.cards + .facts { margin-top: 12px; }
.facts div {
  display: flex; gap: 16px; justify-content: space-between; padding: 3px 0; break-inside: avoid;
  border-bottom: 1px solid var(--rule);
}
.facts dt { color: var(--soft); }
.facts dd { text-align: right; }
table { border-collapse: collapse; font-size: .9rem; }
th { font-weight: 500; text-align: left; }
.classes { display: block; padding: 6px 16px; }
.classes tbody { display: table; width: 100%; }
.classes td, .classes th { padding: 5px 0 5px 12px; border-bottom: 1px solid var(--rule); }
.classes th:first-child { padding-left: 0; }
.classes th[scope=col] { color: var(--soft); text-align: right; white-space: nowrap; }
.classes th[scope=col]:first-child { text-align: left; }
.classes tr:last-child > * { border-bottom: 0; }
.classes .score { width: 22%; }
.score i { display: block; height: 4px; border-radius: 2px; background: var(--rule); }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px; }
.score i b { display: block; height: 4px; border-radius: 2px; background: var(--accent); }
.wide { overflow-x: auto; padding: 12px 16px; }
.heat { font-size: .82rem; }
.heat td {
  min-width: 2.9em; padding: 6px 5px; text-align: center; border: 1px solid var(--card); white-space: nowrap;
}
.heat th { padding: 4px 8px 4px 0; color: var(--soft); max-width: 11em; }
.heat th[scope=col] { vertical-align: bottom; text-align: center; padding: 4px; }
.heat th[scope=col] span {
  writing-mode: vertical-rl; transform: rotate(180deg); max-height: 11em; display: inline-block;
}
.heat .corner { font-size: .75rem; min-width: 7em; vertical-align: bottom; }
.heat .right { background: color-mix(in srgb, var(--accent) var(--share), var(--paper)); }
.heat .wrong { background: color-mix(in srgb, var(--bad) var(--share), var(--paper)); }
.heat .strong { color: var(--card); }
.chosen { margin: 0 0 12px; color: var(--soft); font-size: .9rem; }
.panel p { margin: 2px 0 8px; color: var(--soft); font-size: .88rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.pair figcaption { font-weight: 400; font-size: .8rem; color: var(--soft); margin: 2px 0 0; }
img { display: block; width: 100%; height: auto; border-radius: 6px; }
.below { grid-template-columns: 1fr; }
.dates { margin-top: 8px; }
.dates figcaption { font-weight: 400; font-size: .8rem; color: var(--soft); margin: 2px 0 0; }
.slide { position: relative; container-type: inline-size; overflow: hidden; border-radius: 6px; }
.slide img { border-radius: 0; }
.slide > div {
  position: absolute; inset: 0 auto 0 0; width: 50%; min-width: 18px; max-width: 100%; overflow: hidden;
  resize: horizontal; border-right: 2px solid #fff; box-shadow: 1px 0 0 #000;
}
.slide > div::-webkit-resizer { background: repeating-linear-gradient(135deg, #fff 0 2px, #000 2px 4px); }
.slide > div > img { width: 100cqw; max-width: none; }
.issues { padding: 8px 16px; font-size: .9rem; }
.issues li { padding: 6px 0; border-bottom: 1px solid var(--rule); }
.issues li:last-child { border-bottom: 0; }
.shots {
  display: grid; gap: 10px; margin: 10px 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 220px), 1fr));
}
.shots.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
.shots:empty { display: none; }
.shots figcaption { font-weight: 400; font-size: .8rem; color: var(--soft); margin: 2px 0 0; }
.defect { margin-bottom: 16px; }
.defect .issues { border: 0; padding: 0; }
.error { color: var(--bad); font-weight: 600; }
.warning { color: var(--s1); font-weight: 600; }
.values {
  background: var(--card); border: 1px solid var(--rule); border-radius: 10px; display: block; padding: 6px 16px;
}
.values td, .values th { padding: 5px 12px 5px 0; }
code { font-size: .85em; color: var(--soft); }
small { color: var(--soft); }
details { margin-top: 8px; }
summary { cursor: pointer; color: var(--accent); font-size: .9rem; padding: 6px 0; }
@media (max-width: 560px) {
  svg text { font-size: 15px; }
  h1 { font-size: 1.4rem; }
  .grid > figure, .panel { padding: 12px; }
  .cards { grid-template-columns: 1fr 1fr; }
  .card dd { font-size: 1.45rem; }
  .bars li { grid-template-columns: 7rem 1fr auto; }
  .heat { font-size: .72rem; }
  .heat td { min-width: 2.3em; padding: 5px 2px; }
  .wide { padding: 12px 10px; }
  .landscape { grid-template-columns: 1fr; }
}
@media print {
  body { background: #fff; }
  .panel { break-inside: auto; }
  .shots { grid-template-columns: repeat(3, 1fr); }
  nav { display: none; }
  figure { break-inside: avoid; }
}
"""

FOOTER = "<footer><p>Written by everymask.</p></footer>"
"""What stands at the end of each page."""
# Nothing may be loaded and nothing may run, whatever a name in the data tries.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, subtitle: str, sections: Sequence[tuple[str, str]]) -> str:
    """A whole HTML page; `sections` are pairs of a heading (text) and its content (markup)."""
    links = "".join(f'<a href="#s{number}">{escaped(name)}</a>' for number, (name, _) in enumerate(sections))
    body = "".join(f"{_heading(number, name)}{content}</section>" for number, (name, content) in enumerate(sections))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>{escaped(title)}</h1><p>{escaped(subtitle)}</p><nav>{links}</nav></header>"
        f"<main>{body}</main>{FOOTER}</body></html>\n"
    )


def first_heading(name: str) -> str:
    """How the first section begins that is called so: with `FOOTER` a sign by which a page is known again."""
    return _heading(0, name)


def _heading(number: int, name: str) -> str:
    return f'<section id="s{number}"><h2>{escaped(name)}</h2>'
