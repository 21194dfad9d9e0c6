"""YAML settings files without what YAML lets pass: anchors, tags, repeated keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from everymask.data.issues import IssueLog
from everymask.data.strict.content import read_content

_MAX_BYTES = 1 << 20


def read_strict_yaml(path: Path, issues: IssueLog) -> dict[str, Any] | None:
    """The mapping that a YAML file holds, or None when `issues` was told why it cannot be used.

    Refused are, each with its line: anchors and aliases (a few lines of them can unfold to gigabytes), tags that name
    Python objects, keys that stand twice, bad syntax, text that is not UTF-8, files above 1 MiB, and what
    `read_content` refuses; raises what that raises.
    """
    data = read_content(path, issues, most=_MAX_BYTES, code="yaml-size")
    if data is None:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {error.start}"
        issues.error("text-encoding", "expected UTF-8", file=path, where=where, hint="save the file as UTF-8")
        return None
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                where = f"line {event.start_mark.line + 1}" if event.start_mark else ""
                hint = "write the values out"
                issues.error("yaml-anchor", "anchors and aliases are not allowed", file=path, where=where, hint=hint)
                return None
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and _has_repeats(root, path, issues):
            return None
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}" if mark else ""
        issues.error("yaml-syntax", f"not plain YAML: {error.problem or error.context}", file=path, where=where)
        return None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        issues.error("yaml-syntax", f"not plain YAML: {error}", file=path)
        return None
    if not isinstance(found, dict):
        issues.error("yaml-top", "expected keys and values", file=path, value=found)
        return None
    return {str(key): value for key, value in found.items()}


def _has_repeats(root: yaml.Node, path: Path, issues: IssueLog) -> bool:
    repeated, nodes = False, [root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for (key, _), place in zip(node.value, range(len(keys)), strict=False):
                if key.value in keys[:place]:
                    where = f"line {key.start_mark.line + 1}"
                    issues.error(
                        "yaml-repeated-key", "the key stands there twice", file=path, where=where, value=key.value
                    )
                    repeated = True
            nodes += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
    return repeated
