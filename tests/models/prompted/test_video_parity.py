"""SAM 2's memory says frame by frame what transformers' does with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from everymask.models.base import Followed, PromptBatch, Recalled
from everymask.models.prompted.network import PromptedNetwork
from tests.models.prompted.random_sam import SIDE, own_of
from tests.models.prompted.random_video import moving, session_of, video_sam2

FRAMES = 9
POINTS, LABELS = torch.tensor([[[40.0, 50.0], [90, 80]]]), torch.tensor([[1, 0]])


def remembered_by_transformers(theirs: object, frames: Tensor, mask: Tensor | None) -> list[dict[str, Tensor]]:
    """What it keeps of each frame, of one object that is pointed at in the first."""
    session = session_of(frames)
    row = session.obj_id_to_idx(1)
    if mask is None:
        session.add_point_inputs(row, 0, {"point_coords": POINTS[None], "point_labels": LABELS[None]})
    else:
        session.add_mask_inputs(row, 0, mask[None, None])
    session.obj_with_new_inputs = [1]
    with torch.no_grad():
        for frame in range(len(frames)):
            theirs(session, frame_idx=frame)  # type: ignore[operator]
    kept = session.output_dict_per_obj[row]
    return [kept["cond_frame_outputs"][0], *(kept["non_cond_frame_outputs"][frame] for frame in range(1, len(frames)))]


def followed(own: PromptedNetwork, frames: Tensor, mask: Tensor | None) -> list[Followed]:
    found: list[Followed] = []
    prompt = PromptBatch(POINTS, LABELS, None, several=False, least=-float("inf"))
    for frame in range(len(frames)):
        seen = own.embed(frames[frame : frame + 1])
        if frame:
            ages = [0, *range(min(6, frame - 1), 0, -1)]
            maps = [found[frame - age if age else 0].map.bfloat16().float() for age in ages]
            dates = [frame, *range(1, frame)]
            pointers = torch.stack([found[frame - age].pointer for age in dates])
            recalled = Recalled(
                torch.stack(maps), torch.tensor(ages), pointers, torch.tensor(dates).float(), len(frames) - 1
            )
            found.append(own.follow(seen, recalled, None))
        else:
            found.append(own.follow(seen, None, prompt) if mask is None else own.adopt(seen, mask))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("dated", "masked"), [(True, False), (True, True), (False, False)])
@torch.no_grad()
def test_each_frame_is_remembered_as_transformers_does(dated: bool, masked: bool) -> None:
    theirs, frames = video_sam2(dated=dated), moving(FRAMES)
    own = own_of(theirs.state_dict(), SIDE)
    mask = torch.zeros(SIDE, SIDE)
    mask[20:70, 30:90] = 1
    given = mask if masked else None
    expected, found = remembered_by_transformers(theirs, frames, given), followed(own, frames, given)
    places = SIDE // 16
    for his, mine in zip(expected, found, strict=True):
        assert (his["object_score_logits"] - mine.presence).abs().max() < 1e-3
        scale = max(1.0, float(his["pred_masks"].std()) / 3)
        assert (his["pred_masks"][0, 0] - mine.logits).abs().max() < 1e-3 * scale
        assert (his["object_pointer"] - mine.pointer).abs().max() < 1e-3
        memory = his["maskmem_features"][:, 0].float().T.view(-1, places, places)
        # Both are stored as bfloat16, so that a number may fall to the other side.
        assert (memory - mine.map.bfloat16()).abs().max() < 0.02 and (memory - mine.map).abs().mean() < 2e-3
    present = [bool(mine.presence > 0) for mine in found]
    assert any(present[1:]) and not (dated and all(present))
