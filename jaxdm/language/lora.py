"""Low-rank adapters: a small tree beside the weights, which is what is trained, stored and handed on.

    W <- W + (alpha / r) A B        A [L, inputs, r] normal with variance 1 / inputs, B [L, r, outputs] zero at first

Reference: Hu et al., LoRA: low-rank adaptation of large language models, arXiv 2106.09685.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxdm import random
from jaxdm.language import decoder
from jaxdm.language.decoder import DecoderConfig, LowRank
from jaxdm.language.tokenizer import package
from jaxdm.language.weights import LAYER, MATRICES, read_tensor, safetensors_shapes
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, RefusedFile, choice, number, positive_integer, positive_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
    """What is adapted, and how far."""

    rank: int = 16
    """r."""
    alpha: float = 16.0
    """What is added is scaled by alpha / r."""
    dropout: float = 0.0
    """Share of a matrix's inputs that its adapter does not see in training."""
    targets: tuple[str, ...] = MATRICES
    """Names of the adapted matrices."""


PAPER_1 = Lora(rank=64, alpha=64.0)
"""Rank and scale of Do LLMs learn decision making by SFT (paper 1), on every matrix."""


Adapter = dict[str, dict[str, jax.Array]]
"""By matrix: `a` [L, inputs, r] and `b` [L, r, outputs], not scaled."""


def validate(lora: Lora) -> None:
    """Check a configuration.

    Raises:
        ValueError: a rank below one, a number out of its range, no target, or an unknown one.
    """
    positive_integer("rank", lora.rank)
    positive_number("alpha", lora.alpha)
    number("dropout", lora.dropout, lambda x: 0 <= x < 1, "a number in [0, 1)")
    if not lora.targets:
        raise InvalidInput("targets: none; expected at least one matrix")
    for name in lora.targets:
        choice("targets", name, MATRICES)


def init(key: jax.Array, config: DecoderConfig, lora: Lora) -> Adapter:
    """An adapter that changes nothing yet; in float32, whatever the type of the weights.

    Raises:
        ValueError: as `validate`.
    """
    validate(lora)
    shapes = decoder.shapes(config)["layers"]
    keys = random.split(key, len(lora.targets))
    found: Adapter = {}
    for name, key_one in zip(lora.targets, keys, strict=True):
        layers, inputs, outputs = shapes[name]
        a = random.normal(key_one, (layers, inputs, lora.rank)) / inputs**0.5
        found[name] = {"a": a, "b": jnp.zeros((layers, lora.rank, outputs))}
    return found


def attach(params: Tree, adapter: Adapter, lora: Lora, key: jax.Array | None = None) -> Tree:
    """Parameters with an adapter beside the matrices, for training: weights are read, and not copied.

    Args:
        params: stacked.
        adapter: what is trained.
        lora: its configuration.
        key: of what is dropped; nothing is where it is left out.
    """
    layers = params["layers"]["attention_norm"].shape[0]

    def one(name: str, place: int) -> LowRank:
        matrices = adapter[name]
        scaled = matrices["b"] * (lora.alpha / lora.rank)
        if key is None or lora.dropout == 0:
            return LowRank(a=matrices["a"], b=scaled)
        keys = random.split(random.fold_in(key, place), layers)
        return LowRank(a=matrices["a"], b=scaled, key=keys, rate=jnp.full(layers, lora.dropout))

    attached = {name: one(name, place) for place, name in enumerate(sorted(adapter))}
    return params | {"layers": params["layers"] | {"adapter": attached}}


def merge(params: Tree, adapter: Adapter, lora: Lora) -> Tree:
    """Parameters in which the adapter is part of the matrices, for play: as fast as without."""

    def add(name: str, matrix: jax.Array) -> jax.Array:
        if name not in adapter:
            return matrix
        wide = jnp.matmul(adapter[name]["a"], adapter[name]["b"], precision="highest") * (lora.alpha / lora.rank)
        return (matrix.astype(wide.dtype) + wide).astype(matrix.dtype)

    return params | {"layers": {name: add(name, matrix) for name, matrix in params["layers"].items()}}


def store(folder: str | Path, adapter: Adapter) -> None:
    """Write an adapter as orbax does, in the place of what is there.

    Args:
        folder: of the adapter alone.
        adapter: what is stored.
    """
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:  # which leaves no thread behind
        checkpointer.save(Path(folder).absolute(), args=ocp.args.StandardSave(adapter), force=True)


def restore(folder: str | Path, config: DecoderConfig, lora: Lora) -> Adapter:
    """An adapter that `store` wrote.

    Raises:
        ValueError: there is none, or it is of another shape.
    """
    like = jax.eval_shape(lambda: init(jax.random.key(0), config, lora))
    path = Path(folder).absolute()
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            stored: Any = checkpointer.metadata(path).item_metadata  # none where orbax wrote nothing
            if stored is not None and _shapes(dict(stored)) == _shapes(like):  # else orbax would stop half way through
                return checkpointer.restore(path, args=ocp.args.StandardRestore(like))
    except (ValueError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise RefusedFile(f"folder: {folder} cannot be read ({reason}); expected an adapter of this shape") from error
    raise RefusedFile(f"folder: {folder} holds something else; expected an adapter of this shape, {_shapes(like)}")


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: getattr(leaf, "shape", None), tree)


PEFT = "base_model.model.model.layers.{layer}.{module}.lora_{matrix}.weight"
"""What Hugging Face's PEFT calls a matrix of an adapter."""


def _peft_names(config: DecoderConfig, lora: Lora) -> dict[str, tuple[str, int, str]]:
    """PEFT's name of each matrix -> target, layer, "a" or "b"."""
    modules = {name: LAYER[name][0].removesuffix(".weight") for name in lora.targets}
    return {
        PEFT.format(layer=layer, module=modules[name], matrix=part.upper()): (name, layer, part)
        for name in lora.targets
        for layer in range(config.layers)
        for part in ("a", "b")
    }


def export_peft(folder: str | Path, config: DecoderConfig, lora: Lora, adapter: Adapter, base: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, which PEFT, vLLM and others load.

    Args:
        folder: is made.
        config: the shape of the decoder.
        lora: the configuration of the adapter.
        adapter: what is written.
        base: name or path of the checkpoint that it adapts, as PEFT is to find it.

    Raises:
        ImportError: a package of the extra `language` is missing.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: np.ascontiguousarray(np.asarray(adapter[target][part][layer]).T)
        for name, (target, layer, part) in _peft_names(config, lora).items()
    }
    package("safetensors.numpy").save_file(arrays, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    values: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": [LAYER[name][0].removesuffix(".weight").split(".")[-1] for name in lora.targets],
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "use_rslora": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(values, indent=2) + "\n")


def import_peft(folder: str | Path, config: DecoderConfig) -> tuple[Lora, Adapter]:
    """An adapter in PEFT's layout, with its configuration.

    Raises:
        ValueError: another kind of adapter, or a matrix that is missing, unknown or of another shape, by name.
        ImportError: a package of the extra `language` is missing.
    """
    folder = Path(folder)
    try:
        values = json.loads((folder / "adapter_config.json").read_text())
    except (OSError, ValueError) as error:
        raise RefusedFile(f"adapter_config.json: cannot be read ({error}); expected PEFT's in {folder}") from error
    plain = {"peft_type": "LORA", "bias": "none", "use_rslora": False, "use_dora": False, "fan_in_fan_out": False}
    for name, wanted in plain.items():
        if values.get(name, wanted) != wanted:
            raise RefusedFile(f"{name}: {values[name]!r}; expected {wanted!r}")
    modules = {LAYER[name][0].removesuffix(".weight").split(".")[-1]: name for name in MATRICES}
    unknown = [name for name in values["target_modules"] if name not in modules]
    if unknown:
        raise RefusedFile(f"target_modules: {unknown[0]!r}; expected some of {', '.join(modules)}")
    targets = tuple(modules[name] for name in values["target_modules"])
    lora = Lora(rank=values["r"], alpha=values["lora_alpha"], dropout=values.get("lora_dropout", 0.0), targets=targets)
    validate(lora)
    path = folder / "adapter_model.safetensors"
    stored, names = safetensors_shapes(path), _peft_names(config, lora)
    for name in sorted(set(stored) ^ set(names)):
        what = "unknown; expected none of this adapter" if name in stored else "missing; expected it of this adapter"
        raise RefusedFile(f"tensors: {name} is {what}")
    like = jax.eval_shape(lambda: init(jax.random.key(0), config, lora))
    found = jax.tree.map(lambda leaf: np.empty(leaf.shape, np.float32), like)
    for name, (target, layer, part) in names.items():
        place = found[target][part][layer]
        if stored[name] != place.shape[::-1]:
            raise RefusedFile(f"{name}: shape {stored[name]}; expected {place.shape[::-1]}")
        place[...] = np.asarray(read_tensor(path, name), np.float32).T
    return lora, jax.tree.map(jnp.asarray, found)
