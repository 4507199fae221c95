"""The decoder against a slow twin, and its cached, padded, sharded and half-precision selves against it."""

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.language import decoder
from tests.language.shapes import EVERYTHING, LENGTH, PLAIN, params, read
from tests.references import language as reference

ROUNDING = 2e-4
"""Of logits of size 10 after two layers in float32."""


@pytest.mark.parametrize("config", [PLAIN, EVERYTHING], ids=["plain", "everything"])
def test_logits_are_those_of_a_slow_twin_behind_any_padding(config):
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, config.vocabulary, length) for length in (9, 1, 12, 5)]
    for row, found in zip(rows, read(config, rows), strict=True):
        np.testing.assert_allclose(found, reference.logits(config, params(config), row), atol=ROUNDING, rtol=0)


def test_a_cache_behind_a_shared_prefix_gives_what_reading_all_gives():
    """Of two scenarios by three rollouts, whose prompts, turns and tokens one by one all have lengths of their own."""
    config, rng = EVERYTHING, np.random.default_rng(3)
    prefix = rng.integers(0, 40, (2, 5))
    prefix_mask = np.arange(5) >= np.array([[2], [0]])
    turn = rng.integers(0, 40, (6, 3))
    turn_mask = np.arange(3) >= np.array([0, 1, 2, 3, 0, 1])[:, None]  # the fourth hears nothing
    spoken = rng.integers(0, 40, (6, 3))
    spoken_mask = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 1]], bool)
    first, heard, said = np.repeat(prefix_mask.sum(axis=1), 3), turn_mask.sum(axis=1), spoken_mask.cumsum(axis=1)
    rows = [
        [*prefix[b // 3][prefix_mask[b // 3]], *turn[b][turn_mask[b]], *spoken[b][spoken_mask[b]]] for b in range(6)
    ]
    expected = read(config, rows)

    def check(found, count, told):
        for b in np.flatnonzero(told):
            np.testing.assert_allclose(found[b], expected[b][count[b] - 1], atol=ROUNDING, rtol=0)

    unstacked = decoder.unstack(params(config))
    extend = jax.jit(functools.partial(decoder.extend, config))
    prefill = jax.jit(functools.partial(decoder.prefill, config))
    found, prefix_cache = prefill(params(config), jnp.asarray(prefix), jnp.asarray(prefix_mask))
    check(np.repeat(found, 3, axis=0), first, np.ones(6, bool))
    cache = decoder.start(config, prefix_cache, rollouts=3, slots=6)
    found, cache = extend(unstacked, cache, jnp.asarray(turn), jnp.asarray(turn_mask))
    check(found, first + heard, turn_mask.any(axis=1))
    for n in range(3):
        one = slice(n, n + 1)
        found, cache = extend(unstacked, cache, jnp.asarray(spoken[:, one]), jnp.asarray(spoken_mask[:, one]))
        check(found, first + heard + said[:, n], spoken_mask[:, n])
    np.testing.assert_array_equal(cache.position, [len(row) for row in rows])
    assert np.all(np.isfinite(found))
    beyond, _ = extend(unstacked, cache, jnp.asarray(spoken[:, :1]), jnp.asarray(spoken_mask[:, :1]))
    assert np.all(np.isnan(beyond))


def test_bfloat16_is_close_and_its_logits_are_float32():
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params(PLAIN))
    row = np.random.default_rng(6).integers(0, 40, LENGTH)
    found, exact = read(PLAIN, [row], half)[0], read(PLAIN, [row])[0]
    assert found.dtype == jnp.float32
    # A rounding is 2^-8, and a sum of some tens of them follows each other.
    assert 0 < np.sqrt(np.mean((found - exact) ** 2)) < 2**-4 * np.std(exact)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jaxdm.language import decoder
from tests.language.shapes import EVERYTHING, apply, params

mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto))
placed = jax.device_put(params(EVERYTHING), decoder.shardings(EVERYTHING, mesh))
assert placed["layers"]["query"].sharding.shard_shape(placed["layers"]["query"].shape) == (2, 16, 12)
tokens = jnp.asarray(np.random.default_rng(7).integers(0, 40, (4, 5)))
rows = jax.device_put(tokens, NamedSharding(mesh, P("data")))
found, expected = apply(EVERYTHING, placed, rows), apply(EVERYTHING, params(EVERYTHING), tokens)
assert len(found.sharding.device_set) == 4
np.testing.assert_allclose(found, expected, atol=2e-4, rtol=0)
"""


def test_a_decoder_on_four_devices_is_the_same():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_parameters_have_the_shapes_that_are_named():
    for config in (PLAIN, EVERYTHING):
        drawn = jax.eval_shape(functools.partial(decoder.init, config=config), jax.random.key(0))
        found = jax.tree.map(lambda leaf: leaf.shape, drawn)
        assert found == decoder.shapes(config)
        assert jax.tree.structure(found, is_leaf=lambda node: isinstance(node, tuple)) == jax.tree.structure(
            decoder.axes(config), is_leaf=lambda node: isinstance(node, tuple)
        )


def test_bad_shapes_are_refused_by_name():
    for name, value in {"layers": 0, "kv_heads": 3, "head_width": 5, "rope_base": 0.0, "rope_factors": (1.0,)}.items():
        with pytest.raises(ValueError, match=name):
            decoder.init(jax.random.key(0), dataclasses.replace(PLAIN, **{name: value}))
    mesh = jax.make_mesh((1,), ("model",))
    with pytest.raises(ValueError, match="rules"):
        decoder.shardings(PLAIN, mesh, {"colour": "model"})
    with pytest.raises(ValueError, match="rules"):
        decoder.shardings(PLAIN, mesh, {"heads": "machine"})
    with pytest.raises(ValueError, match="mask"):
        decoder.apply(PLAIN, params(PLAIN), jnp.zeros((2, 3), int), jnp.ones((2, 2), bool))
