"""Objects are followed as SAM 2's own code follows them, where the package sam2 is installed."""

from __future__ import annotations

import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from everymask.infer.result import Result
from everymask.models.specs.prompted import SAM2
from tests.models.prompted.random_sam import SIDE, own_of, predictor_of, scatter

FRAMES = 8


def official_predictor() -> Any:
    """The authors' video predictor with random weights, for small pictures."""
    pytest.importorskip("sam2", reason="the authors' package is the reference")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        instantiate = pytest.importorskip("hydra.utils").instantiate
        conf = pytest.importorskip("omegaconf").OmegaConf
        model = conf.load(str(files("sam2") / "configs/sam2.1/sam2.1_hiera_t.yaml")).model
        model._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
        model.image_size, model.add_all_frames_to_correct_as_cond = SIDE, True
        model.sam_mask_decoder_extra_args = {
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        }
        model.binarize_mask_from_pts_for_mem_enc = True
        for attention in ("self_attention", "cross_attention"):
            model.memory_attention.layer[attention].feat_sizes = [SIDE // 16] * 2
        theirs = instantiate(model).eval()
    scatter(theirs)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name.endswith("gamma"):
                parameter.uniform_(0.2, 0.5, generator=generator)
            elif name.startswith(("no_", "maskmem")):
                parameter.normal_(std=0.5, generator=generator)
        theirs.memory_encoder.out_proj.weight.mul_(0.02)
        theirs.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.add_(9)
    return theirs


def check_same(logits: Any, found: Result, number: int) -> None:
    ids = [] if found.instances.ids is None else found.instances.ids.tolist()
    assert found.instances.masks is not None
    mask = found.instances.masks.to_dense(ids.index(number)) if number in ids else np.zeros((SIDE, SIDE), np.bool_)
    assert (mask != (logits[0] > 0).numpy()).mean() < 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_objects_are_followed_and_corrected_as_the_authors_code_does(tmp_path: Path) -> None:
    theirs = official_predictor()
    own = own_of(theirs.state_dict(), SIDE)
    assert own.spec == SAM2(side=SIDE, memory="2.1")
    still = np.kron(
        np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8), np.ones((8, 8, 1), np.uint8)
    )
    for frame in range(FRAMES):
        Image.fromarray(np.roll(still, (3 * frame, 5 * frame), (0, 1))).save(tmp_path / f"{frame}.jpg")
    state, video = theirs.init_state(str(tmp_path)), predictor_of(own).video(tmp_path)
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20:70, 30:90] = True

    clicks: list[tuple[list[float], int]] = [([40.0, 50], 1), ([90.0, 30], 0)]
    for point, label in clicks:
        _, _, logits = theirs.add_new_points_or_box(state, 2, 1, points=[point], labels=[label], clear_old_points=False)
        check_same(logits[0], video.prompt(1, 2, points=[point], labels=[label]), 1)
    _, _, logits = theirs.add_new_mask(state, 2, 5, mask)
    check_same(logits[1], video.prompt(5, 2, mask=mask), 5)
    for reverse in (False, True):
        passed = video.propagate(2, reverse=reverse)
        for frame, numbers, logits in theirs.propagate_in_video(state, start_frame_idx=2, reverse=reverse):
            tracked = next(passed)
            assert tracked.frame == frame
            for row, number in enumerate(numbers):
                check_same(logits[row], tracked.result, number)
        if not reverse:
            _, _, logits = theirs.add_new_points_or_box(state, 6, 1, points=[[60, 60]], labels=[1])
            check_same(logits[0], video.prompt(1, 6, points=[[60, 60]]), 1)
