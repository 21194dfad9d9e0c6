"""Pictures that were searched for some of the classes only, as those of LVIS (A. Gupta et al., 2019).

Each class was looked for in a few pictures: those that show it, and those whose `neg_category_ids` say that it is not
there. In pictures whose `not_exhaustive_category_ids` name a class not all of its objects are annotated. LVIS's own
evaluation leaves aside what a model finds beyond that; everymask counts it as wrong, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from everymask.data.issues import IssueLog

FEDERATED = "federated"
"""The code of the warning."""


def note_federated(
    entries: Sequence[Any], shown: Mapping[int, Set[int]], classes: Mapping[int, int], file: Path, issues: IssueLog
) -> None:
    """Warn where some `entries` of a file's `images` say that not every class was looked for in each picture.

    `shown` are the class ids of the objects by image id, `classes` the class ids by category id.
    """
    stated = [entry for entry in entries if isinstance(entry, dict) and "neg_category_ids" in entry]
    partly = [entry for entry in stated if entry.get("not_exhaustive_category_ids")]
    open_to_all = 0
    for entry in stated:
        absent = {classes[number] for number in _ids(entry.get("neg_category_ids")) if number in classes}
        open_to_all += len(absent | shown.get(_id(entry), set())) < len(classes)
    if not (open_to_all or partly):
        return
    message = (
        f"not every class was looked for in each picture (LVIS): in {open_to_all:,} of {len(entries):,} pictures some "
        f"classes were not, and in {len(partly):,} not all objects of a class are annotated. What a model finds of "
        "them counts as wrong here, which LVIS's own evaluation leaves aside, and training takes it for background"
    )
    issues.warn(FEDERATED, message, file=file, where="/images", hint="compare scores only with others taken here")


def _id(entry: Mapping[str, Any]) -> int:
    found = entry.get("id")
    return found if type(found) is int else -1


def _ids(values: Any) -> list[int]:
    return [value for value in values if type(value) is int] if isinstance(values, list) else []
