"""Programs of fine-tuning lower for CUDA and TPU, what does not is named; `tests.lowering` does all of all studies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.rmft.config import TOY_DISTILLATION, TOY_NETWORK
from jaxdm import sweep, trainer
from jaxdm.envs import families
from jaxdm.models.transformer import network
from jaxdm.rmft import distillation, games
from tests.lowering import Call, recorded, refused


def bandits():
    return games.bandit_game(lambda key: families.bandit.one_gap(key, arms=2, gap=0.5), 2, 3)


def losses():
    return games.online_game((families.losses.uniform,), 2, 3, labels="output")


@pytest.mark.parametrize("make", [bandits, losses])
def test_rounds_of_fine_tuning_lower(make):
    game = make()
    net = network(TOY_NETWORK, game.features, game.outputs)
    maker = distillation.make_trainer(TOY_DISTILLATION, game, net)
    keys = jax.random.split(jax.random.key(0), 2)
    state = jax.eval_shape(lambda keys: jax.vmap(maker.init)(keys, jax.vmap(net.init)(keys)), keys)
    with recorded():  # as on an accelerator
        program = trainer._compiled.__wrapped__(maker.run, sweep.device_mesh(1), False)
        assert refused(call(program, state, (), 1)) is None


def call(program, *args, wide=False):
    return Call(program=program, name="program", args=args, kwargs={}, wide=wide)


def test_what_does_not_lower_is_named():
    square = jax.ShapeDtypeStruct((3, 3), np.float32)
    assert "'eig' not found" in str(refused(call(jax.jit(jnp.linalg.eig), square)))
    asks = jax.jit(lambda x: jax.pure_callback(np.asarray, x, x))
    assert "callback" in str(refused(call(asks, square)))


def test_every_program_of_a_block_is_recorded_once_for_each_kind_of_arguments():
    with recorded() as calls:
        inner = jax.jit(lambda x: 2 * x)
        outer = jax.jit(lambda x: inner(x) + jax.lax.map(inner, x[None])[0])
        for size in (2, 3, 3):
            outer(jnp.ones(size))
        inner(jnp.ones(3))
    assert sorted(call.args[0].shape for call in calls) == [(2,), (3,), (3,)]
    assert all(refused(call) is None for call in calls)
