"""L8c. Softmax attention in place of linear: it errs more, the more demonstrations it has beyond those of training.

With `W^PV = v e e^T`, `W^KQ = diag(K, 0)` the library's softmax layer answers
`v sum_i exp(s_i) y_i / (sum_i exp(s_i) + exp(s_q))`, `s_i = x_i^T K x_q / sqrt(d + 1)`: an average of labels, to which
the query itself adds the label 0. So answers are bounded by |v| times the largest label whatever the features' size,
where those of linear attention grow with its square (L8). On R copies of P points the query's share is
`exp(s_q) / R` against theirs: unlike linear attention, whose answer to copies is that to the points, softmax attention
tells long contexts from short ones, and v, which makes up for the query's share of the N + 1 tokens of training, is
too large for more of them. This form is exact, and gives the answer for M to infinity, and so the error there.

Checked: the form, with random weights; and, as a finding at these sizes and no theorem, that layers trained by the
library's trainer on N pairs of linear MDPs (as in L7) err more, the longer the context at test: measured is their
error for M to infinity as a multiple of that for M = N. For the linear layer, by L5, no such multiple exceeds one: the
refutation.

Source: ours.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.analysis import statistics
from jaxdm.analysis.claims import DIFFERS, FAILS, HOLDS, Claim, near
from theory import softmax_answers, training
from theory.softmax_answers import STATED, Form

LENGTH, LEAST = 4, 2.0
"""N, and the smallest multiple that counts as much worse."""


LENGTHS, CONTEXTS, SCALES = (4, 16), (1, 4, 16, 64, 256), (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""N, M and scales of test features of the stored curves."""


ROUNDING = 1000
"""Times eps: sums of 15 exponentials of scores of a few units."""


WRONG = {
    "the same of linear attention": Form(softmax=False),
    "the query not attended to": Form(own=0.0),
    "the query's weight x 2": Form(own=2.0),
    "copies make no difference": Form(copies=0.0),
    "scores divided by d + 1": Form(power=1.0),
    "scores not divided": Form(power=0.0),
    "v^2 for v": Form(value=2.0),
}


def check(key: jax.Array, samples: int = 2000, form: Form = STATED) -> Claim:
    """Trained layers' error for M to infinity over that for M = N, mean and interval over seeds; the form must hold.

    Args:
        key: random key.
        samples: contexts of N pairs over which the error is averaged.
        form: what is claimed.
    """
    trained = softmax_answers.layers(key, LENGTH)
    near_training = softmax_answers.errors(trained, key, LENGTH, samples).mean(axis=0)
    limit = softmax_answers.limits(trained)
    linear = [softmax_answers.linear(trained, LENGTH, context) for context in (LENGTH, np.inf)]
    ratio = limit / near_training if form.softmax else np.full(training.SEEDS, linear[1] / linear[0])
    found = statistics.mean_interval(ratio)
    statement = (
        f"Softmax layers trained on N = {LENGTH} pairs err {near_training.mean():.2g} for M = N (linear "
        f"{linear[0]:.2g}) and {limit.mean():.2g} for M to infinity (linear {linear[1]:.2g}): times"
    )
    claim = near("L8c", statement, "ours", float(found.estimate), LEAST, 0.0)
    exact = softmax_answers.deviation(key, form) <= ROUNDING * jnp.finfo(jnp.float64).eps
    verdict = (HOLDS if found.low > LEAST else DIFFERS) if exact else FAILS
    return claim._replace(low=float(found.low), high=float(found.high), target=f"> {LEAST:g}", verdict=verdict)


def refute(key: jax.Array, samples: int = 2000) -> Claim:
    """The same of linear attention."""
    return check(key, samples, WRONG["the same of linear attention"])


def curves(key: jax.Array, samples: int = 2000) -> dict[str, np.ndarray]:
    """Errors against M, and against the scale of test features for M = N, the largest; softmax layers and linear ones.

    The latter are shares of the error of answering 0.
    """
    trained = [softmax_answers.layers(key, length) for length in LENGTHS]
    last, end = trained[-1], LENGTHS[-1]
    met = lambda layer, context, scale: softmax_answers.errors(layer, key, context, samples, scale).mean(axis=0)
    linear = lambda length, context, scale: softmax_answers.linear(last, length, context, scale)
    nothing = np.asarray([softmax_answers.nothing(last, scale) for scale in SCALES])
    return {
        "lengths": np.asarray(LENGTHS),
        "contexts": np.asarray(CONTEXTS),
        "softmax": np.stack([[met(layer, m, 1.0) for m in CONTEXTS] for layer in trained]),  # [N, M, SEEDS]
        "linear": np.asarray([[linear(n, m, 1.0) for m in CONTEXTS] for n in LENGTHS]),  # [N, M]
        "softmax_limit": np.stack([softmax_answers.limits(layer) for layer in trained]),  # [N, SEEDS]
        "linear_limit": np.asarray([linear(n, np.inf, 1.0) for n in LENGTHS]),  # [N]
        "scales": np.asarray(SCALES),
        "softmax_scaled": np.stack([met(last, end, c) for c in SCALES]) / nothing[:, None],  # [C, SEEDS]
        "linear_scaled": np.asarray([linear(end, end, c) for c in SCALES]) / nothing,  # [C]
    }
