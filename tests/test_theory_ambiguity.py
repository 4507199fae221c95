"""The claims about ambiguity hold, and their wrong versions do not."""

import jax
import pytest

from theory import ambiguity_attitude, ambiguity_models
from theory.claim import FAILS, HOLDS


@pytest.mark.parametrize("module", [ambiguity_attitude, ambiguity_models])
def test_the_claim_holds_and_its_wrong_version_fails(double, module):
    key_check, key_refute = jax.random.split(jax.random.key(0))
    right, wrong = module.check(key_check, samples=60), module.refute(key_refute, samples=60)
    assert right.verdict == HOLDS
    assert right.measured <= right.high < 1e-10
    assert wrong.verdict == FAILS
    assert wrong.measured > 1e-3
