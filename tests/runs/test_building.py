"""The model of a run, as its configuration describes it."""

import pytest

from mvae_tf.runs import building


@pytest.mark.parametrize(
    ("number", "most", "expected"), [(12, 5, 4), (11, 10, 1), (7, 7, 7), (3, 10**9, 3)]
)
def test_executions_fill_an_epoch(number, most, expected):
    assert building._divisor(number, most) == expected
