from itertools import pairwise

import pytest
import torch
from torch import nn

from gcnlab.models import SegmentationNet
from gcnlab.receptive import gradient_field


def linear_stack(sizes=((5, 3), (3, 5), (3, 3)), channels=(3, 4, 2, 2)):
    convs = [
        nn.Conv2d(a, b, size, padding=(size[0] // 2, size[1] // 2), bias=False)
        for size, (a, b) in zip(sizes, pairwise(channels), strict=True)
    ]
    return nn.Sequential(*convs).double()


def composed_kernel(convs):
    """The kernel of a stack of convolutions, (out, in, rows, columns): each kernel convolved with the
    ones before it (cross-correlations compose by full convolution of their kernels)."""
    kernel = convs[0].weight.detach()
    for conv in list(convs)[1:]:
        weight = conv.weight.detach()
        flipped = weight.flip(2, 3)
        kernel = nn.functional.conv2d(
            kernel.transpose(0, 1),
            flipped,
            padding=(weight.shape[2] - 1, weight.shape[3] - 1),
        ).transpose(0, 1)
    return kernel


def test_on_a_linear_stack_it_is_the_composed_kernels():
    torch.manual_seed(0)
    stack = linear_stack()
    kernel = composed_kernel(stack)[1].abs().sum(0)  # class 1, all colours
    rows, columns = kernel.shape
    expected = torch.zeros(25, 21, dtype=torch.float64)
    top, left = 12 - rows // 2, 10 - columns // 2
    expected[top : top + rows, left : left + columns] = kernel
    field = gradient_field(stack, torch.randn(3, 25, 21, dtype=torch.float64), (12, 10), target=1)
    torch.testing.assert_close(field, expected)


@pytest.mark.parametrize("pixel", [(0, 0), (24, 3), (11, 20)])
def test_at_the_border_it_is_the_jacobian(pixel):
    """There zero padding between the layers clips the paths that leave the image."""
    stack = linear_stack()
    image = torch.randn(3, 25, 21, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: stack(x[None])[(0, 1, *pixel)], image)
    torch.testing.assert_close(gradient_field(stack, image, pixel, 1), jacobian.abs().sum(0))


def test_without_a_target_it_takes_the_predicted_class():
    torch.manual_seed(0)
    stack = linear_stack()
    image = torch.randn(3, 20, 20, dtype=torch.float64)
    predicted = int(stack(image[None])[0, :, 9, 9].argmax())
    torch.testing.assert_close(
        gradient_field(stack, image, (9, 9)), gradient_field(stack, image, (9, 9), predicted)
    )


def test_the_network_is_left_as_it_was():
    net = SegmentationNet("mini", 3, kernel_size=3).train()
    net.heads[0].eval()
    statistics = net.backbone.bn1.running_mean.clone()
    gradient_field(net, torch.randn(3, 40, 40), (20, 20))
    assert net.training
    assert not net.heads[0].training
    assert torch.equal(net.backbone.bn1.running_mean, statistics)
    assert all(p.grad is None for p in net.parameters())


def test_it_works_inside_no_grad_and_with_models_that_answer_with_a_dict():
    class Dict(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x):
            return {"out": self.conv(x), "aux": None}

    model, image = Dict(), torch.randn(3, 8, 8)
    with torch.no_grad():
        field = gradient_field(model, image, (4, 4), 0)
    assert field.count_nonzero() == 9


@pytest.mark.parametrize(
    ("image", "pixel", "target", "message"),
    [
        (torch.zeros(3, 8, 8), (8, 0), None, "pixel"),
        (torch.zeros(3, 8, 8), (0, -1), None, "pixel"),
        (torch.zeros(3, 8, 8), (0, 0), 2, "target 2"),
    ],
)
def test_bad_arguments_are_named(image, pixel, target, message):
    with pytest.raises(ValueError, match=message):
        gradient_field(nn.Conv2d(3, 2, 1), image, pixel, target)


class Answers(nn.Module):
    """A network that returns a given value."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer(images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="logits for this image are not all finite"):
        gradient_field(Answers(lambda x: x * value), torch.ones(3, 4, 4), (1, 1))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x.mean((2, 3)), r"a tensor \(1, 3\)"),
        (
            lambda x: {"features": x, "aux": x},
            "a dict with 'features', 'aux', none of which holds logits",
        ),
        (lambda x: (x, x), "a tuple"),
        (lambda x: None, "a NoneType"),
    ],
)
def test_a_model_that_answers_with_no_map_is_named(answer, words):
    with pytest.raises(TypeError, match=f"Answers must return logits .* not {words}"):
        gradient_field(Answers(answer), torch.ones(3, 4, 4), (1, 1))


def test_scores_without_a_gradient_are_named():
    with pytest.raises(ValueError, match="no gradient"):
        gradient_field(Answers(torch.zeros_like), torch.ones(3, 4, 4), (1, 1))
