"""The table of random streams: no two uses of any study meet, nor what is split off them."""

import jax
import numpy as np
import pytest

from experiments.streams import INDICES, Use, stream

STAGES = ("bandit", "simplex", "ball", "ablations", "drift", "pomdp", "mdp", "SFT", "more SFT")

PATHS = [(), *((i,) for i in range(6)), *((i, j) for i in range(3) for j in range(3)), (0, 0, 0), (1, 0, 2)]
PATHS += [(INDICES - 1,), *((stage,) for stage in STAGES), *((stage, 0) for stage in STAGES)]


def test_no_two_streams_meet_nor_what_is_split_off_them():
    seeds, children = range(4), 6
    keys = jax.numpy.stack([stream(seed, use, *path) for seed in seeds for use in Use for path in PATHS])
    first = jax.vmap(lambda key: jax.random.split(key, children))(keys)
    second = jax.vmap(jax.vmap(lambda key: jax.random.split(key, children)))(first[:, :2])
    roots = jax.numpy.stack([jax.random.key(seed) for seed in seeds])
    split_roots = jax.vmap(lambda key: jax.random.split(key, 600))(roots)
    every = [keys, first, second, roots, split_roots]
    data = np.concatenate([np.asarray(jax.random.key_data(some)).reshape(-1, 2) for some in every])
    assert len(np.unique(data, axis=0)) == len(data)


def test_a_prefix_of_an_index_does_not_lead_to_a_longer_one():
    for use in (Use.SFT_POOL, Use.RMFT_TRAINING):
        longer = [stream(0, use, i, j) for i in range(3) for j in range(5)]
        split = [key for i in range(3) for key in jax.random.split(stream(0, use, i), 5)]
        assert not {_data(key) for key in longer} & {_data(key) for key in split}


def test_streams_are_the_same_every_time():
    assert _data(stream(3, Use.RMFT_TRAINING, "bandit")) == _data(stream(3, Use.RMFT_TRAINING, "bandit"))


@pytest.mark.parametrize("number", [-1, INDICES])
def test_numbers_that_could_meet_words_are_refused(number):
    with pytest.raises(ValueError, match=f"index: {number}; expected"):
        stream(0, Use.SFT_TEST, number)


def _data(key: jax.Array) -> tuple[int, ...]:
    return tuple(int(word) for word in np.asarray(jax.random.key_data(key)))
