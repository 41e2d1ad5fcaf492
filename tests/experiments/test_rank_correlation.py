"""Spearman's correlation, against the correlation of the ranks and a permutation."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from gcnlab.experiments.rank_correlation import rank_correlation

NUMBERS = st.integers(-3, 9) | st.just(math.nan)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_it_is_that_of_the_ranks_of_the_rows_that_have_both(rows):
    known = [row for row in rows if not any(map(math.isnan, row))]
    found = rank_correlation([a for a, _ in rows], [b for _, b in rows])
    assert found.objects == len(known)
    columns = [rankdata(column) for column in zip(*known)]
    if len(known) < 2 or any(len(set(column)) < 2 for column in columns):
        assert math.isnan(found.rho)
        assert math.isnan(found.p)
    else:
        assert found.rho == pytest.approx(np.corrcoef(columns)[0, 1], abs=1e-9)


def test_p_is_the_share_of_permutations_with_a_correlation_as_large():
    """The t distribution approximates that share, which is exact."""
    one, other = [1, 2, 3, 4, 5, 6, 7], [2, 1, 4, 3, 7, 5, 6]
    found = rank_correlation(one, other)
    rhos = [np.corrcoef(one, order)[0, 1] for order in permutations(other)]
    share = np.mean([abs(rho) >= abs(found.rho) - 1e-9 for rho in rhos])
    assert found.p == pytest.approx(share, abs=0.02)
