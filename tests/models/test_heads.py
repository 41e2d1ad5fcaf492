import pytest
import torch
from torch import nn

from gcnlab.models import count_weights, make_head


@pytest.mark.parametrize(
    ("k", "weights"), [(3, 387_072), (5, 1_075_200), (7, 2_107_392), (9, 3_483_648)]
)
def test_dense_convolution_weights_of_table_2(k, weights):
    assert count_weights(make_head("conv", 2048, 21, k)) == weights


@pytest.mark.parametrize(
    ("m", "weights"), [(2048, 75_884_544), (1024, 28_505_088), (210, 4_307_310)]
)
def test_stack_weights_of_table_4(m, weights):
    with torch.device("meta"):  # counted, not allocated
        assert count_weights(make_head("stack", 2048, 21, 7, m)) == weights


def test_the_stack_is_as_wide_as_its_input_unless_told():
    stack = make_head("stack", 12, 3, 9)
    assert [conv.in_channels for conv in stack] == [12, 12, 12, 12]
    assert stack[-1].out_channels == 3


def test_baseline_weights():
    assert count_weights(make_head("conv1x1", 2048, 21)) == 2048 * 21


@pytest.mark.parametrize("kind", ["conv1x1", "gcn", "conv", "stack"])
def test_a_head_is_linear_and_keeps_the_size(kind):
    """The heads have no bias and no nonlinearity (Tables 2 to 4 count none)."""
    torch.manual_seed(0)
    head = make_head(kind, 6, 3, 5, 4).double()
    a, b = torch.randn(2, 1, 6, 7, 9, dtype=torch.float64)
    assert head(a).shape == (1, 3, 7, 9)
    torch.testing.assert_close(head(2 * a - b), 2 * head(a) - head(b))
    assert not any(isinstance(m, nn.ReLU) for m in head.modules())


@pytest.mark.parametrize("kind", ["gcn", "conv", "stack"])
@pytest.mark.parametrize("k", [3, 7])
def test_one_location_sees_a_window_of_k(kind, k):
    head = make_head(kind, 2, 2, k, 3)
    x = torch.randn(1, 2, 21, 21, requires_grad=True)
    head(x)[0, :, 10, 10].sum().backward()
    rows, columns = x.grad[0].abs().sum(0).nonzero().T
    assert (rows.min(), rows.max()) == (10 - k // 2, 10 + k // 2)
    assert (columns.min(), columns.max()) == (10 - k // 2, 10 + k // 2)


@pytest.mark.parametrize("kind", ["conv1x1", "gcn", "conv", "stack"])
def test_an_even_k_is_refused(kind):
    with pytest.raises(ValueError, match="odd"):
        make_head(kind, 4, 2, 4)


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="conv1x1, gcn, conv, stack"):
        make_head("aspp", 4, 2)


def test_a_stack_for_k_1_has_no_layer_and_is_refused():
    with pytest.raises(ValueError, match="kernel_size ≥ 3"):
        make_head("stack", 4, 2, 1)
