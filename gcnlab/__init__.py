"""gcnlab: Global Convolutional Networks for segmentation, and what they see."""

__version__ = "0.1.0"
