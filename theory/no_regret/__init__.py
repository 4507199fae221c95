"""Part N: attention as a no-regret learner; and the classical bounds O1 to O3."""
