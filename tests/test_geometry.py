"""Axis maps compared with the responses of layers to unit impulses."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gcnlab.geometry import SAME, Footprint, Table, Transposed

windows = st.builds(
    Footprint,
    kernel=st.integers(1, 6),
    stride=st.integers(1, 4),
    padding=st.integers(0, 5),
    dilation=st.integers(1, 3),
)


def support(window, length, transposed):
    """(outputs, inputs) bool: which output depends on which input, measured with weights of one."""
    units = torch.eye(length)[:, None]
    weight = torch.ones(1, 1, window.kernel)
    if transposed:
        out = F.conv_transpose1d(
            units, weight, None, window.stride, window.padding, dilation=window.dilation
        )
    else:
        out = F.conv1d(units, weight, None, window.stride, window.padding, window.dilation)
    return (out[:, 0] != 0).T.numpy()


def fits(window, length, transposed):
    if transposed:
        return (length - 1) * window.stride - 2 * window.padding + window.extent >= 1
    return length + 2 * window.padding >= window.extent


@settings(deadline=None, max_examples=300)
@given(windows, st.integers(1, 20), st.booleans(), st.data())
def test_reads_and_reaches_hold_what_a_convolution_does(window, length, transposed, data):
    if not fits(window, length, transposed):
        return
    depends = support(window, length, transposed)
    axis = Transposed(window) if transposed else window
    outputs = len(depends)
    start = data.draw(st.integers(0, outputs - 1))
    stop = data.draw(st.integers(start + 1, outputs))
    inputs = np.flatnonzero(depends[start:stop].any(0))
    first, last = axis.reads(start, stop)
    if len(inputs):
        assert first <= inputs[0]
        assert inputs[-1] < last
    a = data.draw(st.integers(0, length - 1))
    b = data.draw(st.integers(a + 1, length))
    reached = np.flatnonzero(depends[:, a:b].any(1))
    first, last = axis.reaches(a, b)
    if len(reached):
        assert first <= reached[0]
        assert reached[-1] < last


@settings(deadline=None, max_examples=200)
@given(windows, st.integers(8, 30), st.booleans(), st.data())
def test_single_intervals_are_tight(window, length, transposed, data):
    """`reads` gives the first and last input of an output, `reaches` the outputs of an input."""
    if not fits(window, length, transposed):
        return
    depends = support(window, length, transposed)
    axis = Transposed(window) if transposed else window
    output = data.draw(st.integers(0, len(depends) - 1))
    first, last = axis.reads(output, output + 1)
    if first >= 0 and last <= length and (window.dilation == 1 or not transposed):
        inputs = np.flatnonzero(depends[output])
        assert (len(inputs) == 0) == (first >= last)
        if len(inputs):
            assert (first, last) == (inputs[0], inputs[-1] + 1)


@given(windows, st.integers(-50, 50), st.integers(1, 30))
def test_arrays_and_integers_agree(window, start, length):
    for axis in (window, Transposed(window)):
        for question in (axis.reads, axis.reaches):
            first, last = question(np.array([start]), np.array([start + length]))
            assert (first[0], last[0]) == question(start, start + length)


def test_the_identity_is_a_window():
    assert SAME.reads(3, 7) == SAME.reaches(3, 7) == (3, 7)


@pytest.mark.parametrize(("n_in", "n_out"), [(7, 14), (5, 13), (16, 5), (1, 9)])
def test_a_table_reads_what_interpolation_reads(n_in, n_out):
    units = torch.eye(n_in)[:, None]
    matrix = F.interpolate(units, size=n_out, mode="linear")[:, 0].T.numpy() != 0
    first = matrix.argmax(1)
    last = n_in - 1 - matrix[:, ::-1].argmax(1)

    table = Table(first, last, Fraction(n_in, n_out))
    for output in range(n_out):
        inputs = np.flatnonzero(matrix[output])
        assert table.reads(output, output + 1) == (inputs[0], inputs[-1] + 1)
    for position in range(n_in):
        outputs = np.flatnonzero(matrix[:, position])
        start, stop = table.reaches(position, position + 1)
        if len(outputs):  # shrinking skips some positions
            assert start <= outputs[0]
            assert outputs[-1] < stop


def test_a_table_goes_on_beyond_the_map():
    """Doubling 4 positions, output o is at (o + ½)/2 − ½: beyond the border as well."""
    first, last = np.array([0, 0, 0, 1, 1, 2, 2, 3]), np.array([0, 1, 1, 2, 2, 3, 3, 3])

    table = Table(first, last, Fraction(1, 2))
    assert table.reads(-4, -3) == (-2, -1)
    assert table.reads(11, 12) == (5, 6)
    starts, stops = table.reads(np.array([-4, 2, 11]), np.array([-3, 3, 12]))
    assert starts.tolist() == [-2, 0, 5]
    assert stops.tolist() == [-1, 2, 6]


def test_a_table_that_runs_backwards_is_refused():

    with pytest.raises(ValueError, match="must not decrease"):
        Table(np.array([1, 0, 1]), np.array([1, 0, 1]), Fraction(1))
