"""Truth: solvers that know the world and certify what they return."""
