"""Take a classifier's network apart, for the OOD score and the heatmap. Needs torch, so import it only when used."""

import torch
from torch import nn
from torch.nn import functional


def parts(model):
    """The body, the pooling and the rest of the head of a fastai vision model, or None where it is built otherwise.

    For a picture the body makes a map of features (channels, height, width), or one vector of them, and the pooling
    makes it a vector in any case.
    """
    if not isinstance(model, nn.Sequential) or len(model) != 2 or not isinstance(model[1], nn.Sequential):
        return None
    body, head = model
    first = next((i for i, layer in enumerate(head) if isinstance(layer, (nn.BatchNorm1d, nn.Linear))), None)
    return None if first is None else (body, head[:first], head[first:])


MAX_ABLATED = 2**26  # numbers in the maps of one image, with each cell removed in turn: 268 MB


class Network(nn.Module):
    """From pictures (n, 3, height, width) to what a `Prediction` is made of.

    `forward` returns a dict: `scores` (n, labels); with an `ood_detector`, `ood_score` (n), above 0 for images that are
    out of distribution; and where the body makes maps of at most `MAX_ABLATED` numbers, `ablated` (n, height, width,
    labels): the scores when that cell of the map is set to zero.

    `ood_detector` comes from `fit_ood_detector`: the `mean` of the training photos' features, their principal
    `components` (n, features), `weight` and `threshold`. The score is ViM's (Wang et al., "ViM: Out-Of-Distribution
    with Virtual-logit Matching", 2022): `weight` times the length of what the components leave of the features, minus
    the logarithm of the sum of the exponentiated scores. Here the features are the pooled ones, before the head.
    The ablation is occlusion (Zeiler and Fergus, 2014), applied to the features, where it takes one pass of the head
    and none of the body.
    """

    def __init__(self, model, ood_detector=None):
        super().__init__()
        self.model = model.eval()
        self.parts = parts(model)
        self.ood_detector = ood_detector if self.parts else None

    def forward(self, images):
        if not self.parts:
            return {"scores": self.model(images)}
        body, pool, head = self.parts
        maps = body(images)
        features = pool(maps)
        found = {"scores": head(features)}
        if self.ood_detector:
            found["ood_score"] = self.ood_score(features, found["scores"]) - self.ood_detector["threshold"]
        if maps.ndim == 4:
            _, channels, height, width = map(int, maps.shape)
            if 0 < channels * (height * width) ** 2 <= MAX_ABLATED:
                others = 1 - torch.eye(height * width, device=maps.device).view(-1, 1, height, width)
                ablated = (maps.unsqueeze(1) * others).reshape(-1, channels, height, width)
                found["ablated"] = head(pool(ablated)).reshape(-1, height, width, int(found["scores"].shape[1]))
        return found

    def ood_score(self, features, scores):
        """ViM's score of features (n, features) and scores (n, labels): (n), the larger, the less familiar."""
        centred = features - self.ood_detector["mean"]
        explained = functional.linear(centred, self.ood_detector["components"])
        rest = (centred.square().sum(1) - explained.square().sum(1)).clamp(min=0).sqrt()
        return self.ood_detector["weight"] * rest - torch.logsumexp(scores, 1)
