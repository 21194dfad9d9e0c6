"""SAM and MobileSAM say what their authors' code says with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from everymask.models.base import PromptBatch
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM, SAM2
from tests.models.prompted.random_sam import SIDE, official_sam, own_of, scatter

POINTS = torch.tensor([[[20.0, 31], [90, 64]], [[3, 120], [64, 64]], [[110, 5], [40.5, 99]]])
LABELS = torch.tensor([[1, 0], [1, 1], [0, 1]])
BOXES = torch.tensor([[10.0, 20, 100, 110], [30, 40, 120, 127], [0, 0, 60, 128]])
ASKED = ("points", "boxes", "points boxes", "points masks", "points boxes masks", "masks")


def prompts(asked: str, masks: Tensor, *, several: bool) -> PromptBatch:
    """Three prompts with what is named."""
    points, labels = torch.zeros(3, 0, 2), torch.zeros(3, 0, dtype=torch.long)
    if "points" in asked:
        points, labels = torch.cat([points, POINTS], 1), torch.cat([labels, LABELS], 1)
    if "boxes" in asked:
        points = torch.cat([points, BOXES.view(3, 2, 2)], 1)
        labels = torch.cat([labels, torch.tensor([[2, 3]] * 3)], 1)
    return PromptBatch(points, labels, masks if "masks" in asked else None, several, -float("inf"))


def answered_by_authors(sam: Any, embedding: Tensor, asked: str, masks: Tensor, *, several: bool) -> tuple[Tensor, ...]:
    """Logits and scores by the authors' encoder of prompts and decoder."""
    sparse, dense = sam.prompt_encoder(
        (POINTS, LABELS) if "points" in asked else None,
        BOXES if "boxes" in asked else None,
        masks[:, None] if "masks" in asked else None,
    )
    if asked == "masks":
        sparse = sparse.expand(3, -1, -1)
    logits, scores = sam.mask_decoder(embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, several)
    return logits.flatten(0, 1), scores.flatten()


def check_logits(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """As near as `tolerance` where logits deviate by 3."""
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < tolerance * expected.std() / 3


def check_parity(sam: Any, own: PromptedNetwork, side: int, *, asked: tuple[str, ...] = ASKED) -> None:
    """Embeddings within 1e-4, logits within 1e-3 at a deviation of 3, scores within 1e-4."""
    images = torch.rand(1, 3, side, side - 37, generator=torch.Generator().manual_seed(1)) * 4 - 2
    masks = 5 * torch.randn(3, side // 4, side // 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        embedding = sam.image_encoder(torch.nn.functional.pad(images, (0, 37)))
        seen = own.embed(images)
        assert (seen.maps[0] - embedding).abs().max() < 1e-4
        for each in asked:
            for several in (True, False):
                found = own.answer(seen, prompts(each, masks, several=several))
                logits, scores = answered_by_authors(sam, embedding, each, masks, several=several)
                check_logits(found.logits, logits, 1e-3)
                assert (found.scores - scores).abs().max() < 1e-4, each
                assert found.prompts.tolist() == ([0, 0, 0, 1, 1, 1, 2, 2, 2] if several else [0, 1, 2])


def test_sam_says_what_its_authors_code_says() -> None:
    sam = official_sam()
    own = own_of(sam.state_dict())
    assert own.spec == SAM(encoder="vit_t", side=SIDE)
    check_parity(sam, own, SIDE)


@pytest.mark.slow
def test_the_published_size_says_the_same() -> None:
    sam = official_sam("vit_b", 1024)
    own = own_of(sam.state_dict())
    assert own.spec == SAM()
    check_parity(sam, own, 1024, asked=("points boxes masks",))


@pytest.mark.slow
def test_mobile_sam_says_what_its_authors_code_says() -> None:
    mobile = pytest.importorskip("mobile_sam", reason="mobilesam-mirror is the reference")
    sam = mobile.sam_model_registry["vit_t"]()
    scatter(sam)
    own = own_of(sam.eval().state_dict())
    assert own.spec == SAM(encoder="tiny_vit")
    check_parity(sam, own, 1024, asked=("points", "boxes"))


def test_only_masks_that_are_good_enough_are_made() -> None:
    own = own_of(official_sam().state_dict())
    with torch.no_grad():
        seen = own.embed(torch.zeros(1, 3, SIDE, SIDE))
        every = own.answer(seen, prompts("points", torch.zeros(0), several=True))
        least = float(every.scores.median())
        some = own.answer(seen, PromptBatch(POINTS, LABELS, None, True, least))
        none = own.answer(seen, PromptBatch(POINTS, LABELS, None, True, 1e9))
    kept = every.scores > least
    assert 0 < len(some.scores) == int(kept.sum()) < 9
    torch.testing.assert_close(some.logits, every.logits[kept])
    assert torch.equal(some.prompts, every.prompts[kept])
    assert none.logits.shape == (0, SIDE // 4, SIDE // 4) and not len(none.scores)


def test_one_prompt_says_the_same_among_others() -> None:
    own = own_of(official_sam().state_dict())
    with torch.no_grad():
        seen = own.embed(torch.zeros(1, 3, SIDE, SIDE))
        for asked in ("points", "masks"):
            masks = torch.randn(3, SIDE // 4, SIDE // 4)
            together = own.answer(seen, prompts(asked, masks, several=False))
            batch = prompts(asked, masks, several=False)
            alone = own.answer(
                seen,
                PromptBatch(batch.points[1:2], batch.labels[1:2], None if asked == "points" else masks[1:2], False, 0),
            )
            check_logits(alone.logits, together.logits[1:2], 1e-4)


def small_config() -> Any:
    from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=192, num_hidden_layers=12, num_attention_heads=3, image_size=SIDE, mlp_dim=768,
        global_attn_indexes=[2, 5, 8, 11],
    )  # fmt: skip
    return SamConfig(
        vision_config=vision,
        prompt_encoder_config=SamPromptEncoderConfig(image_size=SIDE, image_embedding_size=SIDE // 16),
        # The authors' value; its own is 1e-6.
        mask_decoder_config=SamMaskDecoderConfig(layer_norm_eps=1e-5),
    )


@pytest.mark.slow
def test_transformers_sam_says_the_same_from_its_file() -> None:
    from transformers import SamModel

    theirs = SamModel(small_config()).eval()
    scatter(theirs)
    own = own_of(theirs.state_dict())
    assert own.spec == SAM(encoder="vit_t", side=SIDE)
    images = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        embedding, seen = theirs.get_image_embeddings(images), own.embed(images)
        assert (seen.maps[0] - embedding).abs().max() < 1e-4
        for asked in ("points", "boxes", "points boxes"):
            said = theirs(
                image_embeddings=embedding,
                input_points=POINTS[None] if "points" in asked else None,
                input_labels=LABELS[None] if "points" in asked else None,
                input_boxes=BOXES[None] if "boxes" in asked else None,
                multimask_output=True,
            )
            found = own.answer(seen, prompts(asked, torch.zeros(0), several=True))
            check_logits(found.logits, said.pred_masks[0].flatten(0, 1), 1e-3)
            assert (found.scores - said.iou_scores.flatten()).abs().max() < 1e-4


@pytest.mark.slow
def test_transformers_sam_2_says_the_same_from_its_file() -> None:
    theirs = small_sam2()
    own = own_of(theirs.state_dict(), SIDE)
    assert own.spec == SAM2(side=SIDE)
    images = torch.rand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        maps, seen = theirs.get_image_embeddings(images), own.embed(images)
        for mine, his in zip(seen.maps, maps[::-1], strict=True):
            assert (mine - his).abs().max() < 1e-4
        for asked in ("points", "boxes", "points boxes"):
            for several in (True, False):
                said = theirs(
                    image_embeddings=maps,
                    input_points=POINTS[None] if "points" in asked else None,
                    input_labels=LABELS[None] if "points" in asked else None,
                    input_boxes=BOXES[None] if "boxes" in asked else None,
                    multimask_output=several,
                )
                found = own.answer(seen, prompts(asked, torch.zeros(0), several=several))
                check_logits(found.logits, said.pred_masks[0].flatten(0, 1), 1e-4)
                assert (found.scores - said.iou_scores.flatten()).abs().max() < 1e-4
        mask = torch.randn(1, SIDE // 4, SIDE // 4)
        said = theirs(
            image_embeddings=maps, input_points=POINTS[None, :1], input_labels=LABELS[None, :1],
            input_masks=mask[None], multimask_output=False,
        )  # fmt: skip
        found = own.answer(seen, PromptBatch(POINTS[:1], LABELS[:1], mask, False, 0))
        check_logits(found.logits, said.pred_masks[0, 0], 1e-4)


def small_sam2(**changes: Any) -> Any:
    """transformers' SAM 2 for small pictures, scattered."""
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2PromptEncoderConfig, Sam2VisionConfig

    trunk = Sam2HieraDetConfig(image_size=[SIDE, SIDE], **changes)
    vision = Sam2VisionConfig(
        backbone_config=trunk, backbone_feature_sizes=[[SIDE // stride] * 2 for stride in (4, 8, 16)]
    )
    theirs = Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config=Sam2PromptEncoderConfig(image_size=SIDE)))
    scatter(theirs)
    # In all files these are the same.
    theirs.prompt_encoder.shared_embedding.positional_embedding = theirs.shared_image_embedding.positional_embedding
    return theirs.eval()
