"""Networks, images and settings that `predict`, `score_map`, `evaluate` and the explorers cannot take."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Subset

from bad_input.refusal import refused
from gcnlab.datasets import Normalization, Shapes, evaluation_transform
from gcnlab.evaluation import (
    CRF,
    Inference,
    Predictor,
    evaluate,
    evaluate_classifier,
    predict,
    score_map,
    search_crf,
)
from gcnlab.receptive import gradient_field

NET = nn.Conv2d(3, 7, 1)
IMAGES = torch.zeros(2, 3, 8, 9)
SHAPES = Shapes("val", 1, 32, transforms=evaluation_transform(Normalization()))


class Answer(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


def answering(answer, call=predict):
    return lambda: call(Answer(answer), IMAGES)


def score(net, data=SHAPES, **options):
    return lambda: evaluate(net, data, progress=False, **options)


class Triples(Shapes):
    def __getitem__(self, index):
        return (*super().__getitem__(index), index)


class Smaller(Shapes):
    def __getitem__(self, index):
        image, labels = super().__getitem__(index)
        return image, labels[:-1]


CASES = {
    # Outputs
    "a tuple of outputs": (answering(lambda x: (x, x)), "Answer must return logits", "a tuple of 2", "wrap"),
    "a list of levels": (answering(lambda x: [x]), "a list of 1"),
    "a dict without logits": (answering(lambda x: {"masks": x}), "a dict with 'masks'", "logits"),
    "an empty dict": (answering(lambda x: {}), "a dict with no entries"),
    "nothing": (answering(lambda x: None), "a NoneType"),
    "class ids instead of logits": (answering(lambda x: x.argmax(1)), "int64", "before argmax"),
    "class ids with an axis": (answering(lambda x: x.argmax(1, keepdim=True)), "before argmax"),
    "the logits of a classifier": (answering(lambda x: x.mean((2, 3))), "a tensor (1, 3)"),
    "one map without a batch axis": (answering(lambda x: x[0], score_map), "a tensor (3, 8, 9)"),
    "more maps than images": (answering(lambda x: x.repeat(2, 1, 1, 1)), "2 for 1", "each image"),
    "fewer maps than images": (answering(lambda x: x[:0]), "the logits of each image", "0 for 1"),
    "maps of no class": (answering(lambda x: x[:, :0]), "empty logits"),
    "one class": (answering(lambda x: x[:, :1]), "1 class", "torch.cat([-s, s], 1)"),
    "logits that are NaN": (answering(lambda x: x * float("nan")), "NaN at 72 of 72 pixels"),
    "logits that are NaN at a pixel": (
        lambda: evaluate(Answer(lambda x: torch.where(torch.arange(32) == 3, torch.nan, NET(x))), SHAPES, progress=False),
        "NaN at 32 of 1024 pixels",
    ),
    "logits that do not depend on the image": (
        lambda: gradient_field(Answer(lambda x: torch.ones(1, 2, 8, 9, requires_grad=True)), IMAGES[0], (1, 1)),
        "do not depend on the image",
    ),
    "a segmenter as a classifier": (
        lambda: evaluate_classifier(NET, [(IMAGES[0], 1)], progress=False),
        "Conv2d must return logits (1, classes)", "(1, 7, 8, 9)",
    ),
    # Networks
    "a function": (lambda: predict(lambda x: x, IMAGES), "model must be a torch.nn.Module", "function"),
    "a name": (lambda: score_map("resnet50", IMAGES), "model", "not a str"),
    "the class of a network": (lambda: predict(nn.ReLU, IMAGES), "not the class ReLU", "create an instance"),
    "weights in place of a network": (score(NET.state_dict()), "model", "OrderedDict"),
    "a lazy network": (lambda: predict(nn.LazyConv2d(4, 1), IMAGES), "lazy", "run it once"),
    "no network for a field": (lambda: gradient_field(None, IMAGES[0], (0, 0)), "model", "NoneType"),
    # Devices
    "another device than the model's": (
        lambda: predict(nn.Conv2d(3, 4, 1), IMAGES, device="meta"), "device is 'meta'", "are on cpu", "omit device",
    ),
    "an unknown device": (lambda: predict(NET, IMAGES, device="gpu"), "device 'gpu'", "not available on this machine"),
    # Images
    "a NumPy image": (lambda: predict(NET, np.zeros((1, 3, 8, 8), np.float32)), "torch.from_numpy(images)"),
    "a list of images": (lambda: predict(NET, list(IMAGES)), "images", "torch.stack"),
    "a path": (lambda: score_map(NET, "bird.jpg"), "images must be a tensor", "str"),
    "one image without a batch axis": (lambda: predict(NET, IMAGES[0]), "batch axis", "image[None]"),
    "a grey picture": (lambda: score_map(NET, IMAGES[0, 0]), "(batch, channels, height, width)"),
    "bytes": (lambda: predict(NET, IMAGES.byte()), "uint8", "normalise it first"),
    "an empty batch": (lambda: predict(NET, IMAGES[:0]), "images must not be empty"),
    "an image without rows": (lambda: score_map(NET, IMAGES[..., :0, :]), "must not be empty"),
    "a NumPy image for a field": (lambda: gradient_field(NET, np.zeros((3, 8, 8)), (0, 0)), "torch.from_numpy"),
    "a batch for a field": (lambda: gradient_field(NET, IMAGES, (0, 0)), "image[0]"),
    "bytes for a field": (lambda: gradient_field(NET, IMAGES[0].byte(), (0, 0)), "uint8", "normalise"),
    # Settings
    "the name of an inference": (lambda: predict(NET, IMAGES, inference="flip"), "inference must be a", "'flip'"),
    "true in place of a CRF": (lambda: predict(NET, IMAGES, crf=True), "crf must be a CRF(…)"),
    "a CRF without colours": (score(NET, crf=CRF()), "normalization"),
    "a scale in place of an inference": (lambda: score_map(NET, IMAGES, 0.5), "inference", "0.5"),
    # Data sets
    "fewer classes than the labels": (score(nn.Conv2d(3, 5, 1)), "5 classes", "labels have 7"),
    "more classes than the labels": (
        score(nn.Conv2d(3, 21, 1), inference=Inference(flip=True)), "21 classes", "labels have 7",
    ),
    "other classes for a search": (
        lambda: search_crf(Predictor(nn.Conv2d(3, 4, 1), Normalization()), SHAPES, progress=False), "4 classes", "have 7",
    ),
    "a data set without labels": (score(NET, [(IMAGES[0], IMAGES[0, 0])]), "dataset must have `.labels`"),
    "a data set without images": (score(NET, Subset(SHAPES, [])), "dataset", "no image"),
    "triples": (score(NET, Triples("val", 1, 32)), "pairs (image, labels)", "tuple of 3"),
    "images as bytes": (score(NET, Shapes("val", 1, 32)), "image", "uint8", "normalise"),
    "labels of another size": (
        score(NET, Smaller("val", 1, 32, transforms=evaluation_transform(Normalization()))), "labels (31, 32)",
    ),
    "no images to classify": (lambda: evaluate_classifier(NET, [], progress=False), "no image"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_ends_in_one_line(case):
    call, *words = CASES[case]
    refused(call, *words)
