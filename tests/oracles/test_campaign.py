"""Certificates of every planner on a few thousand random problems; `tests.campaign` is the long form."""

import pytest

from tests.campaign import KINDS, run


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_no_value_is_outside_its_bound_and_no_policy_worse_than_it_allows(kind):
    done, violations, first = run(kind, 600, seed=0)
    assert done >= 500
    assert not violations, first
