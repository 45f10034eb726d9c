"""The networks, one file each, over the heads that they share."""

from src.models.components.convnext_v2 import ConvNeXtV2
from src.models.components.dense import SimpleDenseNet, SimpleMLP
from src.models.components.network import MultiheadNetwork
from src.models.components.simple_cnn import SimpleCNN
from src.models.components.simple_efficientnet import SimpleEfficientNet
from src.models.components.vision_transformer import VisionTransformer

__all__ = [
    "ConvNeXtV2",
    "MultiheadNetwork",
    "SimpleCNN",
    "SimpleDenseNet",
    "SimpleEfficientNet",
    "SimpleMLP",
    "VisionTransformer",
]
