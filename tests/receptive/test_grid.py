import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcnlab.receptive.grid import OcclusionGrid


@given(st.data())
def test_every_pixel_gets_the_mean_of_the_windows_on_it(data):
    size = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    window = tuple(data.draw(st.integers(1, n)) for n in size)
    stride = tuple(data.draw(st.integers(1, w)) for w in window)
    windows = OcclusionGrid(size, window, stride)
    drops = torch.randn(windows.shape)
    field = windows.spread(drops)
    row, column = (data.draw(st.integers(0, n - 1)) for n in size)
    on_it = [
        drops[i, j]
        for i, (top, bottom) in enumerate(windows.rows)
        for j, (left, right) in enumerate(windows.columns)
        if top <= row < bottom and left <= column < right
    ]
    assert on_it
    torch.testing.assert_close(field[row, column], torch.stack(on_it).mean())


def test_the_last_windows_are_cut_by_the_border():
    windows = OcclusionGrid((10, 7), 4, 3)
    assert windows.rows == [(0, 4), (3, 7), (6, 10)]
    assert windows.columns == [(0, 4), (3, 7)]
    assert OcclusionGrid((11, 8), 4, 3).rows[-1] == (9, 11)


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [
        (11, 1, "larger than the image"),
        (4, 5, "skips pixels"),
        (0, 1, "window"),
        (4, (1, 0), "stride"),
    ],
)
def test_bad_windows_are_named(window, stride, message):
    with pytest.raises(ValueError, match=message):
        OcclusionGrid((10, 10), window, stride)
