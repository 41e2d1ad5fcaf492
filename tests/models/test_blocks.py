import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gcnlab.models import BoundaryRefinement, GlobalConvBlock, count_weights


def dense_kernel(block, in_channels, k):
    """The k×k kernel that a linear, shift-invariant block is, read off its Jacobian: the derivative of
    the centre output pixel of a map large enough that no border reaches it."""
    size = 2 * k + 1
    x = torch.zeros(in_channels, size, size, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: block(x[None])[0, :, k, k], x)
    half = k // 2
    window = slice(k - half, k + half + 1)
    assert jacobian.count_nonzero() == jacobian[:, :, window, window].count_nonzero()
    return jacobian[:, :, window, window]


@settings(max_examples=15, deadline=None)
@given(
    k=st.sampled_from([1, 3, 5, 7]),
    channels=st.integers(1, 4),
    classes=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_gcn_block_is_the_dense_convolution_of_its_jacobian(k, channels, classes, height, width):
    """Also on maps smaller than the kernel, where every output pixel is a border pixel."""
    torch.manual_seed(0)
    block = GlobalConvBlock(channels, classes, k).double()
    x = torch.randn(2, channels, height, width, dtype=torch.float64)
    dense = F.conv2d(x, dense_kernel(block, channels, k), padding=k // 2)
    torch.testing.assert_close(block(x), dense)


def test_the_border_columns_are_alive():
    block = GlobalConvBlock(3, 2, 5)
    x = torch.randn(1, 3, 8, 8)
    out = block(x)
    for border in (out[..., 0], out[..., -1], out[..., 0, :], out[..., -1, :]):
        assert (border.abs() > 1e-6).all()


@pytest.mark.parametrize(
    ("k", "weights"),
    [
        (3, 260_694),
        (5, 434_490),
        (7, 608_286),
        (9, 782_082),
        (15, 1_303_470),
        (25, 2_172_450),
    ],
)
def test_gcn_weights_of_table_2(k, weights):
    assert count_weights(GlobalConvBlock(2048, 21, k)) == weights


@pytest.mark.parametrize("k", [0, 2, 4, -3, True])
def test_only_a_positive_odd_kernel_size_is_taken(k):
    with pytest.raises(ValueError, match="kernel_size"):
        GlobalConvBlock(8, 2, k)


def test_boundary_refinement_starts_as_the_identity():
    scores = torch.randn(1, 4, 6, 6)
    assert torch.equal(BoundaryRefinement(4)(scores), scores)


def test_boundary_refinement_is_a_residual_of_two_convolutions():
    block = BoundaryRefinement(2)
    torch.nn.init.normal_(block.residual[2].weight)
    scores = torch.randn(1, 2, 5, 5)
    hidden = F.conv2d(scores, block.residual[0].weight, padding=1).relu()
    expected = scores + F.conv2d(hidden, block.residual[2].weight, padding=1)
    torch.testing.assert_close(block(scores), expected)


def test_boundary_refinement_has_7938_weights_at_21_classes():
    assert count_weights(BoundaryRefinement(21)) == 7_938
