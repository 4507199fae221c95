"""Networks: causality, cache = full forward, every kind of attention and position, hand-set weights, bad shapes."""

import itertools
from functools import cache
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.models import attention, constructions
from jaxdm.models.attention import KeyValues, Kind, Position
from jaxdm.models.transformer import TransformerConfig, network

FEATURES, OUTPUTS, LENGTH = 5, 3, 12


SCHEMES = list(itertools.product(get_args(Kind), get_args(Position)))


EPS = float(np.finfo(np.float32).eps)


@cache
def build(kind: Kind, position: Position):
    net = network(TransformerConfig(width=8, heads=2, attention=kind, position=position), FEATURES, OUTPUTS)
    params = net.init(jax.random.key(0))
    return net, params, jax.random.normal(jax.random.key(1), (LENGTH, FEATURES))


def test_first_weights_have_the_variance_that_they_should():
    net = network(TransformerConfig(width=64, layers=2), 32, 16)
    params = net.init(jax.random.key(0))
    for path, leaf in jax.tree.leaves_with_path(params):
        name = jax.tree_util.keystr(path)
        if leaf.ndim == 1:
            assert np.all(np.asarray(leaf) == ("scale" in name))
            continue
        branches = 2 if "out'" in name and "readout" not in name else 1
        square = branches * leaf.shape[0] * np.asarray(leaf) ** 2
        assert abs(square.mean() - 1) < 5 * np.sqrt(2 / leaf.size), name
        assert abs(np.asarray(leaf).mean()) < 5 / np.sqrt(leaf.size * leaf.shape[0])


@pytest.mark.parametrize(("kind", "position"), SCHEMES)
def test_cached_steps_equal_the_full_forward_pass(kind, position):
    net, params, tokens = build(kind, position)

    @jax.jit
    def both(tokens):
        continued = []
        for read, remembered in ((0, 0), (7, 7), (9, 7), (7, 0)):
            outputs, cache = net.prefill(params, tokens[:read], LENGTH + 3, jnp.int32(remembered))

            def one(cache, token):
                output, cache = net.step(params, cache, token)
                return cache, output

            steps = jax.lax.scan(one, cache, tokens[remembered:])[1]
            continued.append(jnp.concatenate([outputs[:remembered], steps]))
        return net.apply(params, tokens), continued

    full, continued = both(tokens)
    for cached in continued:
        np.testing.assert_allclose(cached, full, atol=200 * EPS * float(jnp.abs(full).max()))


@pytest.mark.parametrize(("kind", "position"), SCHEMES)
def test_an_output_depends_on_every_token_up_to_its_own_and_on_none_after(kind, position):
    net, params, tokens = build(kind, position)
    influence = jnp.abs(jax.jit(jax.jacobian(net.apply, argnums=1))(params, tokens)).sum(axis=(1, 3))
    past = np.tril(np.ones((LENGTH, LENGTH), bool))
    assert np.all(np.asarray(influence)[~past] == 0)
    assert np.all(np.asarray(influence)[past] > 0) or kind == "relu"
    assert np.all(np.diagonal(influence) > 0)


@pytest.mark.parametrize(("kind", "position"), [("softmax", "rope"), ("linear", "alibi")])
def test_a_batch_of_sequences_is_every_sequence_on_its_own(kind, position):
    net, params, tokens = build(kind, position)
    batch = jnp.stack([tokens, 2 * tokens[::-1]])

    def together(params):
        return jnp.sum(net.apply(params, batch) ** 3)

    def apart(params):
        return jnp.sum(jax.vmap(lambda one: net.apply(params, one))(batch) ** 3)

    (one, gradient), (other, expected) = jax.jit(lambda p: [jax.value_and_grad(f)(p) for f in (together, apart)])(
        params
    )
    np.testing.assert_allclose(one, other, rtol=50 * EPS)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=500 * EPS * float(jnp.abs(y).max())), gradient, expected
    )


@pytest.mark.parametrize("position", get_args(Position))
def test_softmax_attention_equals_a_loop_in_numpy(position):
    keys = jax.random.split(jax.random.key(2), 3)
    q, k, v = (np.asarray(jax.random.normal(key, (2, 6, 4))) for key in keys)
    turn = (lambda x: np.asarray(attention.rotate(jnp.asarray(x), 0))) if position == "rope" else lambda x: x
    turned_q, turned_k = turn(q), turn(k)
    result = attention.attend(
        jnp.asarray(turned_q), KeyValues(keys=jnp.asarray(turned_k), values=jnp.asarray(v)), 0, "softmax", position
    )
    for t, h in itertools.product(range(6), range(2)):
        score = turned_k[h, : t + 1] @ turned_q[h, t] / 2.0
        if position == "alibi":
            score = score - 2.0 ** (-8 * (h + 1) / 2) * (t - np.arange(t + 1))
        weight = np.exp(score - score.max())
        expected = weight @ v[h, : t + 1] / weight.sum()
        np.testing.assert_allclose(result[h, t], expected, atol=50 * EPS)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_blocks_change_nothing(kind, monkeypatch):
    keys = jax.random.split(jax.random.key(3), 3)
    q, k, v = (jax.random.normal(key, (2, 37, 4)) for key in keys)
    whole = attention.attend(q, KeyValues(keys=k, values=v), 0, kind, "alibi")
    monkeypatch.setattr(attention, "BLOCK", 8)
    blocks = attention.attend(q, KeyValues(keys=k, values=v), 0, kind, "alibi")
    np.testing.assert_allclose(blocks, whole, atol=100 * EPS * float(jnp.abs(whole).max()))


def test_rotary_scores_depend_on_distance_alone(double):
    q, k = jax.random.normal(jax.random.key(4), (2, 1, 1, 6))

    def score(t, s):
        return float(jnp.sum(attention.rotate(q, t) * attention.rotate(k, s)))

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1000 * np.finfo(float).eps)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-3)


def test_linear_attention_divides_by_the_number_of_earlier_tokens():
    ones = jnp.ones((1, 4, 2))
    result = attention.attend(ones, KeyValues(keys=ones, values=ones), 0, "linear")
    np.testing.assert_allclose(result[0, :, 0], [2.0, 4.0, 3.0, 8 / 3], rtol=10 * EPS)


def test_a_network_is_reproducible_and_its_parameters_are_plain():
    net = network(TransformerConfig(width=8), FEATURES, OUTPUTS)
    one, two, other = net.init(jax.random.key(0)), net.init(jax.random.key(0)), net.init(jax.random.key(1))
    assert jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.all(x == y)), one, two))
    assert not jax.tree.all(jax.tree.map(lambda x, y: bool(jnp.all(x == y)), one, other))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(one))


def test_one_trace_serves_every_set_of_parameters():
    net, params, tokens = build("softmax", "alibi")
    traces = []
    apply = jax.jit(lambda p, x: traces.append(0) or net.apply(p, x))
    apply(params, tokens)
    apply(net.init(jax.random.key(9)), tokens + 1)
    assert len(traces) == 1


def test_hand_set_layer_does_one_preconditioned_gradient_step(double):
    x, y = jnp.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), jnp.array([3.0, 1.0, 2.0])
    weights = constructions.preconditioned_regression(jnp.array([[2.0, 0.0], [1.0, 1.0]]))
    prompt = constructions.regression_prompt(x, y, jnp.array([1.0, 1.0]))
    # mean of y x = (5/3, 4/3); A times it = (10/3, 3); the query sums the two
    answer = constructions.linear_attention(3).apply(weights, prompt)[-1, -1]
    assert float(answer) == pytest.approx(10 / 3 + 3, rel=1e-14)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"heads": 3}, "heads"),
        ({"width": 0}, "width"),
        ({"layers": 0}, "layers"),
        ({"attention": "sparse"}, "attention"),
        ({"position": "learned"}, "position"),
        ({"bare": True}, "width"),
    ],
)
def test_bad_shapes_name_the_field(change, field):
    with pytest.raises(ValueError, match=f"^{field}: .*expected"):
        network(TransformerConfig(**{"width": 8, **change}), FEATURES, OUTPUTS)


def test_too_small_a_cache_is_refused():
    net, params, tokens = build("softmax", "none")
    with pytest.raises(ValueError, match=r"^capacity: 4; expected at least the 12"):
        net.prefill(params, tokens, 4)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_token_without_room_has_no_output(kind):
    """Four of eight tokens fit. Outside jit the fifth is refused; under jit and vmap what follows is NaN."""
    net, params, tokens = build(kind, "none")

    def steps(tokens, remembered):
        _, cache = net.prefill(params, tokens[:2], 4, remembered)

        def one(cache, token):
            output, cache = net.step(params, cache, token)
            return cache, output

        return jax.lax.scan(one, cache, tokens[2:8])[1]

    cached = jax.jit(jax.vmap(steps, (0, None)))(jnp.stack([tokens, tokens]), jnp.int32(2))
    full = net.apply(params, tokens[:4])[2:]
    np.testing.assert_allclose(cached[:, :2], jnp.stack([full, full]), atol=200 * EPS * float(jnp.abs(full).max()))
    assert bool(jnp.all(jnp.isnan(cached[:, 2:])))
    assert bool(jnp.all(jnp.isnan(jax.jit(steps)(tokens, jnp.int32(3))))), "three of two tokens cannot be remembered"
    _, cache = net.prefill(params, tokens[:4], 4)
    with pytest.raises(ValueError, match=r"^cache: holds 4 tokens; expected room for one more, at most 4"):
        net.step(params, cache, tokens[4])
    for length in (-1, 3):
        with pytest.raises(ValueError, match=rf"^length: {length}; expected between 0 and the 2 tokens"):
            net.prefill(params, tokens[:2], 4, jnp.int32(length))


def test_odd_heads_cannot_rotate():
    with pytest.raises(ValueError, match=r"^width of a head: 3"):
        attention.rotate(jnp.ones((1, 2, 3)), 0)


def test_caches_grow_under_float64(double):
    net = constructions.linear_attention(3)
    params = constructions.preconditioned_regression(jnp.eye(2))
    tokens = jax.random.normal(jax.random.key(0), (5, 3))
    _, cache = net.prefill(params, tokens[:-1], 5)
    last, _ = net.step(params, cache, tokens[-1])
    assert last.dtype == jnp.float64
    np.testing.assert_allclose(last, net.apply(params, tokens)[-1], rtol=1e-13)
