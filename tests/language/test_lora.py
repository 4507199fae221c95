"""Adapters: beside the weights or merged into them, stored, and handed on."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdm.language import decoder, lora
from jaxdm.language.lora import Lora
from tests.language.shapes import PLAIN, params, read

SETTINGS = Lora(rank=3, alpha=6.0, targets=("query", "value", "down"))


@pytest.fixture(scope="module")
def adapter():
    """An adapter as training leaves it: no matrix is zero."""
    shapes = jax.eval_shape(lambda key: lora.init(key, PLAIN, SETTINGS), jax.random.key(0))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32), shapes)


def test_an_adapter_changes_nothing_at_first_and_is_then_what_it_is_merged_to(adapter):
    row = np.random.default_rng(2).integers(0, 40, 24)
    base = read(PLAIN, [row])[0]
    new = jax.jit(lambda key: lora.init(key, PLAIN, SETTINGS))(jax.random.key(0))
    assert all(np.any(one["a"]) and not np.any(one["b"]) for one in new.values())
    beside = lora.attach(params(PLAIN), new, SETTINGS)
    np.testing.assert_array_equal(read(PLAIN, [row], beside)[0], base)
    beside = read(PLAIN, [row], lora.attach(params(PLAIN), adapter, SETTINGS))[0]
    merged = read(PLAIN, [row], lora.merge(params(PLAIN), adapter, SETTINGS))[0]
    np.testing.assert_allclose(beside, merged, atol=2e-4)
    assert np.max(np.abs(merged - base)) > 0.1


def test_dropout_keeps_the_mean(adapter):
    """Each of 4,000 copies of a row drops its own inputs; their mean is the row's without, within 5 s.e."""
    layer = {"query": jnp.zeros((16, 24))}
    x = jnp.asarray(np.random.default_rng(3).normal(size=(1, 16)), jnp.float32)
    plain = decoder.LowRank(a=adapter["query"]["a"][0], b=adapter["query"]["b"][0])
    dropping = plain._replace(key=jax.random.key(4), rate=jnp.float32(0.25))
    project = jax.jit(lambda adapter, x: decoder.project(layer | {"adapter": {"query": adapter}}, "query", x))
    expected = project(plain, x)[0]
    found = project(dropping, jnp.repeat(x, 4_000, axis=0))
    error = np.std(found, axis=0) / np.sqrt(4_000)
    assert np.all(error > 0)
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < 5 * error)
    attach = jax.jit(lambda key: lora.attach(params(PLAIN), adapter, dataclasses.replace(SETTINGS, dropout=0.25), key))
    attached = attach(jax.random.key(5))
    keys = [one.key for one in attached["layers"]["adapter"].values()]
    assert len({tuple(np.ravel(jax.random.key_data(key[layer]))) for key in keys for layer in range(2)}) == 6


def test_what_is_stored_is_read_again(adapter, tmp_path):
    lora.store(tmp_path / "adapter", adapter)
    again = lora.restore(tmp_path / "adapter", PLAIN, SETTINGS)
    jax.tree.map(np.testing.assert_array_equal, again, adapter)
    with pytest.raises(ValueError, match="expected an adapter"):
        lora.restore(tmp_path / "nowhere", PLAIN, SETTINGS)
    with pytest.raises(ValueError, match="expected an adapter"):
        lora.restore(tmp_path / "adapter", PLAIN, dataclasses.replace(SETTINGS, rank=4))
    (tmp_path / "empty").mkdir()
    lora.store(tmp_path / "flat", {"a": adapter["query"]["a"]})
    for other in ("empty", "flat"):
        with pytest.raises(ValueError, match="something else; expected an adapter"):
            lora.restore(tmp_path / other, PLAIN, SETTINGS)


def test_peft_s_layout_is_written_and_read(adapter, tmp_path):
    pytest.importorskip("safetensors")
    lora.export_peft(tmp_path, PLAIN, SETTINGS, adapter, base="somewhere")
    found, again = lora.import_peft(tmp_path, PLAIN)
    assert found == SETTINGS
    jax.tree.map(np.testing.assert_array_equal, again, adapter)
    with pytest.raises(ValueError, match="missing"):
        lora.import_peft(tmp_path, dataclasses.replace(PLAIN, layers=3))
    with pytest.raises(ValueError, match="unknown"):
        lora.import_peft(tmp_path, dataclasses.replace(PLAIN, layers=1))
    with pytest.raises(ValueError, match="shape"):
        lora.import_peft(tmp_path, dataclasses.replace(PLAIN, width=18))
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_dora": True}))
    with pytest.raises(ValueError, match="use_dora"):
        lora.import_peft(tmp_path, PLAIN)


def test_bad_settings_are_refused_by_name():
    for name, value in {"rank": 0, "alpha": 0.0, "dropout": 1.0, "targets": ("norm",)}.items():
        with pytest.raises(ValueError, match=name):
            lora.init(jax.random.key(0), PLAIN, dataclasses.replace(SETTINGS, **{name: value}))
