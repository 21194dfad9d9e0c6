"""A network learns the change of a few real pairs by heart: data, feed, targets, loss and network belong together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from everymask.core.segmentation import ChangeMap
from everymask.data.change.coding import CHANGE
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.formats.table import read_dataset
from everymask.metrics.change.metric import ChangeMetric
from everymask.models.base import collate
from everymask.models.build import build
from everymask.models.specs.semantic import UNet
from everymask.settings.plan import ChangeSettings
from everymask.train.semantic_losses import set_criterion

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "levir_samples"
PREPROCESS = Preprocess(resize=Resize(1, 64, "shrink"), dates=2)
STEPS = 100


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs shared/data/levir_samples")
def test_the_change_of_four_samples_is_learned_by_heart() -> None:
    dataset = read_dataset(SAMPLES).annotated()
    rows = [row for row, record in enumerate(dataset.records) if not record.id.startswith("test")]
    samples = [dataset[row] for row in rows]
    batch = collate([prepare(sample, PREPROCESS) for sample in samples], PREPROCESS.divisor)
    torch.manual_seed(0)
    spec = UNet(encoder="plain", decoder_channels=(64, 32, 16), fusion="concat", head="binary")
    module = build(spec, len(CHANGE)).train()
    set_criterion(module, ChangeSettings(loss="ce+dice", class_weights=(), label_smoothing=0.0))
    optimizer = torch.optim.AdamW(module.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    for _ in range(STEPS):
        loss = torch.stack(list(module.loss(batch).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = (module.eval()(batch.images).logits[:, 0] > 0).byte().numpy()  # type: ignore[operator]
    metric = ChangeMetric(CHANGE)
    for sample, ids, truth in zip(samples, found, batch.truths, strict=True):
        assert isinstance(truth, ChangeMap)
        metric.update(ChangeMap(ids), truth, sample)
    assert metric.compute().headline > 0.95
