"""Compute the OOD score and the heatmap from parts of a network. Imports torch, so import this only when needed."""

import torch
from torch import nn
from torch.nn import functional


def parts(model):
    """Return the body, the pooling and the rest of the head of a fastai vision model; None for other models.

    For an image the body returns a feature map (channels, height, width) or a feature vector. The pooling returns a
    feature vector in both cases.
    """
    if not isinstance(model, nn.Sequential) or len(model) != 2 or not isinstance(model[1], nn.Sequential):
        return None
    body, head = model
    first = next((i for i, layer in enumerate(head) if isinstance(layer, (nn.BatchNorm1d, nn.Linear))), None)
    return None if first is None else (body, head[:first], head[first:])


MAX_ABLATED = 2**26  # numbers in the feature maps of one image with each cell removed in turn: 268 MB


class Network(nn.Module):
    """Compute the arrays of which a `Prediction` is made, for images (n, 3, height, width).

    `forward` returns a dict:

    - scores (n, labels)
    - ood_score (n), if there is an `ood_detector`: above 0 for images that are out of distribution
    - ablated (n, height, width, labels), if this takes at most `MAX_ABLATED` numbers per image: the scores when that
      cell of the feature map is set to zero

    ood_detector: what `fit_ood_detector` returned: the `mean` of the training photos' features, their principal
        `components` (n, features), `weight` and `threshold`. The score is that of ViM (Wang et al., "ViM:
        Out-Of-Distribution with Virtual-logit Matching", 2022): `weight` times the length of the residual of the
        features, minus the logarithm of the sum of the exponentiated scores. The features are those after pooling.

    The ablation is occlusion (Zeiler and Fergus, 2014), applied to the feature map instead of the image. It needs one
    pass of the head per cell, and the body runs only once.
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
        """Return the ViM score (n) for features (n, features) and scores (n, labels); high values are OOD."""
        centred = features - self.ood_detector["mean"]
        explained = functional.linear(centred, self.ood_detector["components"])
        rest = (centred.square().sum(1) - explained.square().sum(1)).clamp(min=0).sqrt()
        return self.ood_detector["weight"] * rest - torch.logsumexp(scores, 1)
