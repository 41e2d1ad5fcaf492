"""Run a network: devices, precisions, forms of the output."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gcnlab.evaluation import Inference, evaluate, predict, score_map
from gcnlab.models.logits import device_of, dtype_of, logits_of, pixel_logits
from gcnlab.models.saved_state import SavedState, _Chunk

IMAGES = torch.randn(2, 3, 13, 17, generator=torch.Generator().manual_seed(0))


class Answer(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("fuse", ["logits", "probabilities"])
def test_coarse_scores_are_resized_before_softmax_and_argmax(stride, fuse):
    torch.manual_seed(0)
    net = nn.Conv2d(3, 5, stride, stride)
    with torch.no_grad():
        scores = F.interpolate(net(IMAGES), (13, 17), mode="bilinear", align_corners=False)
    expected = scores if fuse == "logits" else scores.softmax(1)
    assert torch.allclose(score_map(net, IMAGES, Inference(fuse=fuse)), expected, atol=1e-5)
    assert torch.equal(predict(net, IMAGES), scores.argmax(1))


def test_coarse_scores_of_padded_tiles_are_resized_to_what_the_network_got():
    torch.manual_seed(0)
    net = nn.Conv2d(3, 5, 4, 4)
    padded = F.pad(IMAGES, (0, 3, 0, 7))
    with torch.no_grad():
        whole = F.interpolate(net(padded), (20, 20), mode="bilinear", align_corners=False)
    found = score_map(net, IMAGES, Inference(pad_to=(20, 20), fuse="logits"))
    assert torch.allclose(found, whole[..., :13, :17], atol=1e-5)


def test_finer_scores_than_the_image_are_resized_too():
    net = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Upsample(scale_factor=2))
    assert predict(net, IMAGES).shape == (2, 13, 17)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("given", [torch.float32, torch.float64])
def test_images_come_in_the_models_precision(dtype, given):
    net = nn.Conv2d(3, 4, 1).to(dtype)
    with torch.no_grad():
        expected = net(IMAGES.to(given).to(dtype))
    images = IMAGES.to(given)
    assert torch.equal(predict(net, images), expected.argmax(1))
    assert score_map(net, images).dtype == torch.promote_types(dtype, torch.float32)
    assert images.dtype == given


@pytest.mark.parametrize("key", ["out", "logits"])
@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_a_dict_is_taken_by_its_scores(key, kind):
    net = Answer(lambda x: kind([("aux", x[:, :1]), (key, x)]))
    assert torch.equal(predict(net, IMAGES), IMAGES.argmax(1))


def test_networks_without_weights_run_where_they_are_told():
    net = Answer(lambda x: x)
    assert torch.equal(predict(net, IMAGES, device="cpu"), IMAGES.argmax(1))
    assert device_of(net) == torch.device("cpu")
    assert dtype_of(net) is None


def test_buffers_alone_tell_device_and_precision():
    net = Answer(lambda x: F.conv2d(x, net.weight))
    net.register_buffer("weight", torch.randn(4, 3, 1, 1, dtype=torch.float64))
    assert logits_of(net, IMAGES).dtype == torch.float64
    assert device_of(nn.Conv2d(3, 4, 1, device="meta")).type == "meta"


def test_images_on_another_device_follow_the_model():
    """Meta tensors stand for a GPU: shapes are computed, values are not."""
    net = nn.Conv2d(3, 4, 4, 4, device="meta")
    scores = pixel_logits(net, IMAGES)
    assert scores.device.type == "meta"
    assert scores.shape == (2, 4, 13, 17)


def test_images_do_not_influence_each_other():
    """A network that takes the mean over the batch."""
    net = Answer(lambda x: x - x.mean((0, 2, 3), keepdim=True))
    alone = torch.cat([predict(net, image[None]) for image in IMAGES])
    assert torch.equal(predict(net, IMAGES), alone)
    maps = torch.cat([score_map(net, image[None]) for image in IMAGES])
    assert torch.equal(score_map(net, IMAGES), maps)


def test_memory_in_chunks_as_on_a_gpu():
    """Several tensors compared at once: the one that changed gets its value back."""
    parts = [torch.arange(n, dtype=torch.uint8) for n in (8, 3, 16)]
    chunk = _Chunk(parts)
    parts[1].zero_()
    parts[2][5] = 77
    chunk.restore()
    assert [part.tolist() for part in parts] == [list(range(n)) for n in (8, 3, 16)]


def test_views_of_one_memory_are_kept_once():
    net = nn.Conv2d(3, 4, 1)
    net.register_buffer("view", net.weight.detach()[:2])
    kept = SavedState(net)
    before = net.weight.detach().clone()
    net.view.zero_()
    kept.restore()
    assert torch.equal(net.weight, before)


def test_evaluate_takes_a_baseline_without_weights():
    from gcnlab.datasets import Normalization, Shapes, evaluation_transform

    data = Shapes("val", 2, 32, transforms=evaluation_transform(Normalization()))
    net = Answer(lambda x: F.one_hot(x[:, 0].long() * 0, 7).movedim(-1, 1).float())
    scores = evaluate(net, data, progress=False)
    ground = torch.cat([labels.flatten() for _, labels in data])
    assert scores.accuracy == pytest.approx(100 * (ground == 0).double().mean().item())
