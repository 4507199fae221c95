"""One table of the random streams of all studies: what is drawn for one use never meets what is drawn for another."""

import enum
import operator
import zlib

import jax

INDICES = 2**16
"""Numbers that an index may be; words lie above them."""


@enum.unique
class Use(enum.IntEnum):
    """What random numbers are for. Append, and never renumber: a number decides what a study draws."""

    SFT_INITIAL_WEIGHTS = 100
    SFT_TRAINING = 101
    SFT_POOL = 102
    SFT_HELD_OUT = 103
    SFT_TEST = 104
    SFT_PROBE = 105
    SFT_IMITATION = 106
    SFT_IDENTITIES = 107
    SFT_DATA = 108
    SFT_PRETRAINING_DATA = 109
    SFT_SEEN = 110
    SFT_PARTICLES = 111
    SFT_AMBIGUITY = 112

    RMFT_INITIAL_WEIGHTS = 200
    RMFT_TRAINING = 201
    RMFT_POOL = 202
    RMFT_HELD_OUT = 203
    RMFT_EVALUATION = 204
    RMFT_TUNING = 205
    RMFT_ATTACK = 206
    RMFT_BASELINES = 207
    RMFT_DEMONSTRATIONS = 208
    RMFT_IDENTITIES = 209

    ONLINE_LOSSES = 300
    ONLINE_PLAY = 301
    ONLINE_ATTACK = 302

    BANDIT_WORLDS = 400
    BANDIT_PLAY = 401


def stream(seed: int, use: Use, *index: int | str) -> jax.Array:
    """The key of one use: `fold_in(... fold_in(fold_in(fold_in(key(seed), use), n), index_1) ..., index_n)`.

    With threefry, `split(key, m)[i] == fold_in(key, i)`: keys meet when one is reached from another by numbers that
    somebody else folds in. Here the count `n` comes before the indices, so that no path begins another, and
    whatever is split off a stream stays in it.

    Args:
        seed: of the study.
        use: what the numbers are for.
        index: which of several streams of one use, by numbers (a round, a size) or words (a part, a stage).

    Returns:
        [] a typed key.

    Raises:
        ValueError: a number outside 0 to 2^16 - 1.
    """
    key = jax.random.fold_in(jax.random.key(seed), use)
    for number in (len(index), *(_number(entry) for entry in index)):
        key = jax.random.fold_in(key, number)
    return key


def _number(entry: int | str) -> int:
    """An index as it is folded in; a word is its CRC-32 with the highest bit set."""
    if isinstance(entry, str):
        return zlib.crc32(entry.encode()) | 2**31
    number = operator.index(entry)
    if not 0 <= number < INDICES:
        raise ValueError(f"index: {number}; expected a word, or a number from 0 to {INDICES - 1}")
    return number
