"""What the study tests first: named on 2026-11-25, before any run on the seeds that count.

All other rows are exploratory. Verdicts of these are corrected for their number (`jaxdm.analysis.claims.ranked`); a run
with fewer than `SEEDS` training seeds is a preview, in which no row is primary.
"""

from collections.abc import Sequence

from jaxdm.analysis.claims import Claim, ranked

NAMED = "2026-11-25"
"""The date on which these rows were named."""


SEEDS = 8
"""Training seeds, at least, of a run that counts."""


PRIMARY = (
    "RMFT-regret",  # from the base that struggles: regret falls on the training distribution,
    "RMFT-suffix",  # the best arm is given up less often on K=5, gap 0.2,
    "RMFT-tries",  # and K MinFrac does not fall there
    "RMFT-longer",  # regret falls at 4 T
    "RMFT-elsewhere",  # and on every distribution that was not trained on
    "RMFT-classical",  # within 1.2 of the best tuned classical player on every stationary Bernoulli distribution, at T
    "RMFT-classical-longer",  # and at 4 T
    "RMFT-gives-up",  # SuffFailFreq(T/2) on K=5, gap 0.2 is at most 0.02
    "RMFT-gradient",  # less regret than the better of REINFORCE and PPO
    "RMFT-threshold",  # a share below 1/K ends with more regret than one above
    "RMFT-online",  # full information: within 1.2 of the tuned classical learner on every non-adversarial law, at 4 T
    "RMFT-attacked",  # no linear part in the regret on attacked and reacting sequences
)


def rows(claims: Sequence[Claim], seeds: int) -> list[Claim]:
    """All rows with their rank; primary ones only where all parts were studied, with enough seeds."""
    found = {claim.id for claim in claims}
    named = [name for name in PRIMARY if name in found]
    return ranked(claims, named, preview=seeds < SEEDS or len(named) < len(PRIMARY))
