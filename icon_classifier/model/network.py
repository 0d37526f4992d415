"""Compute the OOD score and the heatmap from parts of a network. Imports torch, so import this only when needed."""

import torch
from torch import nn


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
OTHER_WEIGHT = 0.5  # of all distances but the first in the OOD score; 0.25 to 1 differ little


def similarities(values, layer):
    """Return the cosine similarity of each of `values` (n, values) to each training photo: (n, m).

    layer: `projection` (values, rank) onto the directions in which the training photos vary most, and `photos` (m,
        rank), their unit-length activations in these directions. What an image has in other directions makes it
        less similar.
    """
    unit = values / values.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return (unit @ layer["projection"]) @ layer["photos"].T


class Network(nn.Module):
    """Compute the arrays of which a `Prediction` is made, for images (n, 3, height, width).

    `forward` returns a dict:

    - scores (n, labels)
    - ood_score (n), if there is an `ood_detector`: above 0 for images that are out of distribution
    - ablated (n, height, width, labels), if this takes at most `MAX_ABLATED` numbers per image: the scores when that
      cell of the feature map is set to zero

    ood_detector: what `fit_ood_detector` found: `layers`, a dict for each of `Network.layers` (see `similarities`; the
        first one also has the `lengths` (m) of the training photos' features); `mean` and `std` of the `distances` of
        the validation photos; and the `threshold` of the score.

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
        layers = self.layers(pool(maps))
        found = {"scores": head[-1](layers[1]) if len(layers) > 1 else head(layers[0])}
        if self.ood_detector:
            found["ood_score"] = self.ood_score(layers) - self.ood_detector["threshold"]
        if maps.ndim == 4:
            _, channels, height, width = map(int, maps.shape)
            if 0 < channels * (height * width) ** 2 <= MAX_ABLATED:
                others = 1 - torch.eye(height * width, device=maps.device).view(-1, 1, height, width)
                ablated = (maps.unsqueeze(1) * others).reshape(-1, channels, height, width)
                found["ablated"] = head(pool(ablated)).reshape(-1, height, width, int(found["scores"].shape[1]))
        return found

    def layers(self, features):
        """Return the activations that the OOD score is made of: a list of one or two tensors (n, values).

        They are the pooled `features`, and the input of the last linear layer if the head has a hidden layer.
        """
        head = self.parts[2]
        linear = [isinstance(layer, nn.Linear) for layer in head]
        return [features, head[:-1](features)] if linear[-1] and sum(linear) > 1 else [features]

    def distances(self, layers):
        """Return how far an image is from the nearest training photo: (n, 2 or 3), by direction and by distance.

        The columns are 1 minus the cosine similarity in each of `layers` (see above), and the Euclidean distance in
        the first one. The method is that of Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors"
        (2022), for the first neighbour.
        """
        found = [similarities(*pair) for pair in zip(layers, self.ood_detector["layers"], strict=True)]
        length = layers[0].norm(dim=1, keepdim=True)
        lengths = self.ood_detector["layers"][0]["lengths"]
        squares = length**2 + lengths**2 - 2 * length * lengths * found[0]
        nearest = [1 - cosines.max(1).values for cosines in found]
        return torch.stack([*nearest, squares.clamp(min=0).min(1).values.sqrt()], 1)

    def ood_score(self, layers):
        """Return the OOD score (n) of an image's `layers` (see above); high values are out of distribution.

        It is the distance by direction, standardized on the validation photos. The other distances can only raise it,
        because a network that has learned little gives much the same activations for everything.
        """
        standard = (self.distances(layers) - self.ood_detector["mean"]) / self.ood_detector["std"]
        return standard[:, 0] + OTHER_WEIGHT * standard[:, 1:].clamp(min=0).sum(1)
