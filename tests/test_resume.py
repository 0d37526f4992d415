"""Test resume.py with mixed precision; test_training.py kills and resumes whole runs."""

import pytest
import torch
from fastai.vision.all import SGD, Callback, DataLoaders, Learner, MixedPrecision, set_seed
from torch import nn

from icon_classifier.training.resume import Resume


class MixedPrecisionOnCPU(MixedPrecision):
    """fastai's callback with bfloat16 and a loss scale that grows every three steps; the original needs a GPU."""

    def before_fit(self):
        self.autocast = torch.autocast("cpu", dtype=torch.bfloat16)
        self.learn.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)
        self.scales = []

    def after_fit(self):  # fastai's own discards the scales
        pass


class Interrupt(Callback):
    def before_train(self):
        if self.epoch == 2:
            raise KeyboardInterrupt


def fit(folder, *cbs):
    """Train four epochs of two steps; return the scale of the loss at each step."""
    set_seed(1)
    data = [(torch.randn(4), torch.randn(1)) for _ in range(8)]
    learn = Learner(DataLoaders.from_dsets(data, data[:2], bs=4), nn.Linear(4, 1), nn.MSELoss(), opt_func=SGD)
    mixed = MixedPrecisionOnCPU()
    with learn.no_bar(), learn.no_logging():
        try:
            learn.fit(4, 1e-3, cbs=[mixed, Resume(folder), *cbs])
        finally:
            learn.remove_cb(mixed)
    return mixed.scales


def test_mixed_precision_continues_with_its_scale(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = fit(tmp_path / "whole")
    assert whole == [4, 4, 4, 8, 8, 8, 16, 16]
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", Interrupt())
    assert fit(tmp_path / "parts") == whole[4:]
