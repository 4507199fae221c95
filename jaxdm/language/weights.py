"""Checkpoints on disk as parameters of the decoder: GGUF files, dequantised, and Hugging Face folders of safetensors.

Nothing is fetched. What a file lacks, has too much, or has in another shape is refused by name. Weights that were
quantised are close to the original's, and not equal to them.

Reading needs the packages of `pip install 'jaxdm[language]'`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdm.language import decoder
from jaxdm.language.decoder import DecoderConfig
from jaxdm.language.tokenizer import Tokenizer, from_folder, from_gguf, package
from jaxdm.types import Tree
from jaxdm.validation import InvalidInput, RefusedFile


class LanguageModel(NamedTuple):
    """What is needed to go on with a text."""

    config: DecoderConfig
    params: Tree  # stacked, see `decoder.axes`
    tokenizer: Tokenizer


TOP = {
    "embedding": ("model.embed_tokens.weight", "token_embd.weight"),
    "norm": ("model.norm.weight", "output_norm.weight"),
    "readout": ("lm_head.weight", "output.weight"),
}
"""Names of what stands outside the layers: ours, Hugging Face's, GGUF's."""


LAYER = {
    "attention_norm": ("input_layernorm.weight", "attn_norm.weight"),
    "query": ("self_attn.q_proj.weight", "attn_q.weight"),
    "key": ("self_attn.k_proj.weight", "attn_k.weight"),
    "value": ("self_attn.v_proj.weight", "attn_v.weight"),
    "out": ("self_attn.o_proj.weight", "attn_output.weight"),
    "query_bias": ("self_attn.q_proj.bias", "attn_q.bias"),
    "key_bias": ("self_attn.k_proj.bias", "attn_k.bias"),
    "value_bias": ("self_attn.v_proj.bias", "attn_v.bias"),
    "query_norm": ("self_attn.q_norm.weight", "attn_q_norm.weight"),
    "key_norm": ("self_attn.k_norm.weight", "attn_k_norm.weight"),
    "mlp_norm": ("post_attention_layernorm.weight", "ffn_norm.weight"),
    "gate": ("mlp.gate_proj.weight", "ffn_gate.weight"),
    "up": ("mlp.up_proj.weight", "ffn_up.weight"),
    "down": ("mlp.down_proj.weight", "ffn_down.weight"),
}
"""Names within a layer; matrices are stored [outputs, inputs]."""


ARCHITECTURES = {
    "LlamaForCausalLM": {"qkv_bias": False, "qk_norm": False},
    "MistralForCausalLM": {"qkv_bias": False, "qk_norm": False},
    "Qwen2ForCausalLM": {"qkv_bias": True, "qk_norm": False},
    "Qwen3ForCausalLM": {"qkv_bias": False, "qk_norm": True},
    "llama": {"qkv_bias": False, "qk_norm": False},
    "qwen2": {"qkv_bias": True, "qk_norm": False},
    "qwen3": {"qkv_bias": False, "qk_norm": True},
}
"""What Hugging Face and GGUF call the members of the family."""


IGNORED = ("rotary_emb.inv_freq", "rope_freqs.weight")
"""Ends of the names of tensors that the configuration says too."""


def load(path: str | Path, dtype: Any = jnp.float32) -> LanguageModel:
    """A checkpoint with its tokenizer.

    Args:
        path: a `.gguf` file, or a folder with `config.json`, `tokenizer.json` and safetensors.
        dtype: of the parameters: float32 or bfloat16.

    Raises:
        ValueError: no such file, an architecture outside the family, or a tensor that is missing, unknown, or of
            another shape; each is named.
        ImportError: a package of the extra `language` is missing.
    """
    path = Path(path)
    if jnp.dtype(dtype) not in (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16)):
        raise InvalidInput(f"dtype: {dtype}; expected float32 or bfloat16")
    if path.is_file() and path.suffix == ".gguf":
        return _load_gguf(path, dtype)
    if path.is_dir():
        return _load_folder(path, dtype)
    raise RefusedFile(f"path: {path}; expected a .gguf file, or a folder of a Hugging Face checkpoint")


def _load_gguf(path: Path, dtype: Any) -> LanguageModel:
    reader = package("gguf").GGUFReader(path)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    freqs = tensors.get("rope_freqs.weight")
    factors = None if freqs is None else tuple(float(x) for x in _dequantised(freqs))
    config = gguf_config(metadata, "output.weight" not in tensors, factors)
    llama = metadata["general.architecture"] == "llama"

    def tensor(name: str) -> np.ndarray:
        found = _dequantised(tensors[name])
        if llama and name.endswith(("attn_q.weight", "attn_k.weight")):  # ggml turns neighbours, we turn halves
            found = found.reshape(-1, config.head_width // 2, 2, found.shape[-1]).swapaxes(1, 2)
            found = found.reshape(-1, found.shape[-1])
        return found

    stored = {name: tuple(int(size) for size in reversed(one.shape)) for name, one in tensors.items()}
    params = _assembled(config, "gguf", stored, tensor, dtype)
    return LanguageModel(config=config, params=params, tokenizer=from_gguf(metadata))


def _dequantised(tensor: Any) -> np.ndarray:
    found = package("gguf").dequantize(tensor.data, tensor.tensor_type)
    return np.asarray(found, np.float32).reshape([int(size) for size in reversed(tensor.shape)])


def _load_folder(folder: Path, dtype: Any) -> LanguageModel:
    config = folder_config(_json(folder / "config.json", required=True))
    index = _json(folder / "model.safetensors.index.json")
    files = sorted(set(index["weight_map"].values())) if index else ["model.safetensors"]
    where = {name: folder / file for file in files for name in safetensors_shapes(folder / file)}
    stored = {name: shape for file in files for name, shape in safetensors_shapes(folder / file).items()}
    if config.tied:  # some files hold the embedding twice
        stored.pop("lm_head.weight", None)

    def tensor(name: str) -> np.ndarray:
        return read_tensor(where[name], name)

    params = _assembled(config, "hf", stored, tensor, dtype)
    generation = _json(folder / "generation_config.json")
    generation = generation if "eos_token_id" in generation else _json(folder / "config.json", required=True)
    tokenizer = from_folder(folder, _json(folder / "tokenizer_config.json"), generation)
    return LanguageModel(config=config, params=params, tokenizer=tokenizer)


def _json(path: Path, required: bool = False) -> dict[str, Any]:
    if not path.exists() and not required:
        return {}
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RefusedFile(f"{path.name}: cannot be read ({error}); expected a JSON file in {path.parent}") from error


def safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what a safetensors file holds.

    Raises:
        ValueError: it cannot be read.
    """
    safetensors = package("safetensors")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (OSError, safetensors.SafetensorError) as error:
        raise RefusedFile(f"{path.name}: cannot be read ({error}); expected a safetensors file") from error


def read_tensor(path: Path, name: str) -> np.ndarray:
    """One array of a safetensors file, bfloat16 included."""
    with package("safetensors").safe_open(path, framework="flax") as file:
        return np.asarray(file.get_tensor(name))


def _get(where: str, values: Mapping[str, Any], name: str) -> Any:
    if name not in values:
        raise RefusedFile(f"{where}: no {name!r}; expected the shape of the model there")
    return values[name]


def _architecture(name: Any) -> dict[str, bool]:
    if name not in ARCHITECTURES:
        raise RefusedFile(f"architecture: {name!r}; expected one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def gguf_config(metadata: Mapping[str, Any], tied: bool, factors: tuple[float, ...] | None) -> DecoderConfig:
    """The configuration that GGUF metadata describe.

    Raises:
        ValueError: an unknown architecture, a missing size, or rotary positions scaled in a way that is not known.
    """
    name = metadata.get("general.architecture")
    variant = _architecture(name)
    scaling = metadata.get(f"{name}.rope.scaling.type", "none")
    if scaling != "none":
        raise RefusedFile(f"{name}.rope.scaling.type: {scaling!r}; expected none, or factors in rope_freqs.weight")

    def get(key: str) -> Any:
        return _get("metadata", metadata, f"{name}.{key}")

    width, heads = int(get("embedding_length")), int(get("attention.head_count"))
    config = DecoderConfig(
        vocabulary=len(_get("metadata", metadata, "tokenizer.ggml.tokens")),
        width=width,
        layers=int(get("block_count")),
        heads=heads,
        kv_heads=int(metadata.get(f"{name}.attention.head_count_kv", heads)),
        head_width=int(metadata.get(f"{name}.attention.key_length", width // heads)),
        hidden=int(get("feed_forward_length")),
        rope_base=float(metadata.get(f"{name}.rope.freq_base", 10_000.0)),
        rope_factors=factors,
        epsilon=float(get("attention.layer_norm_rms_epsilon")),
        tied=tied,
        **variant,
    )
    decoder.validate(config)
    return config


def folder_config(values: Mapping[str, Any]) -> DecoderConfig:
    """The configuration that a Hugging Face `config.json` describes.

    Raises:
        ValueError: an unknown architecture, a missing size, or a feature that the decoder has not.
    """
    names = values.get("architectures") or [None]
    variant = dict(_architecture(names[0]))
    if names[0] == "LlamaForCausalLM" and (values.get("attention_bias") or values.get("mlp_bias")):
        raise RefusedFile("attention_bias, mlp_bias: True; expected a Llama without biases")
    if names[0] == "Qwen3ForCausalLM" and values.get("attention_bias"):
        raise RefusedFile("attention_bias: True; expected a Qwen3 without biases")
    window = values.get("sliding_window")
    if window is not None and values.get("use_sliding_window", names[0] == "MistralForCausalLM"):
        raise RefusedFile(f"sliding_window: {window}; expected attention to all that came before")
    if values.get("hidden_act", "silu") != "silu":
        raise RefusedFile(f"hidden_act: {values['hidden_act']!r}; expected 'silu'")

    def get(name: str) -> Any:
        return _get("config.json", values, name)

    # Since version 5 of transformers all that rotary positions need is in one place.
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    base = float(values.get("rope_theta", rope.get("rope_theta", 10_000.0)))
    heads, width = int(get("num_attention_heads")), int(get("hidden_size"))
    head_width = int(values.get("head_dim") or width // heads)
    config = DecoderConfig(
        vocabulary=int(get("vocab_size")),
        width=width,
        layers=int(get("num_hidden_layers")),
        heads=heads,
        kv_heads=int(values.get("num_key_value_heads") or heads),
        head_width=head_width,
        hidden=int(get("intermediate_size")),
        rope_base=base,
        rope_factors=_factors(rope, base, head_width),
        epsilon=float(get("rms_norm_eps")),
        tied=bool(values.get("tie_word_embeddings", False)),
        **variant,
    )
    decoder.validate(config)
    return config


def _factors(rope: Mapping[str, Any], base: float, head_width: int) -> tuple[float, ...] | None:
    """What the speeds of rotary positions are divided by: Llama 3.1's stretching of long waves, or one factor."""
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return (float(rope["factor"]),) * (head_width // 2)
    if kind != "llama3":
        raise RefusedFile(f"rope_type: {kind!r}; expected default, linear or llama3")
    length = rope["original_max_position_embeddings"]
    turns = length * base ** (-2 * np.arange(head_width // 2) / head_width) / (2 * np.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    share = np.clip((turns - low) / (high - low), 0, 1)  # of the speed that stays as it was
    return tuple(float(x) for x in 1 / (share + (1 - share) / rope["factor"]))


def stored_names(config: DecoderConfig, form: str) -> dict[str, tuple[str, ...]]:
    """Where every parameter is stored, by `layers/query` or `norm`: one name, or one for each layer.

    Args:
        config: the shape of the decoder.
        form: "hf" or "gguf".
    """
    column, prefix = (0, "model.layers.{}.") if form == "hf" else (1, "blk.{}.")
    wanted = decoder.axes(config)
    top = {name: (TOP[name][column],) for name in wanted if name != "layers"}
    layers = {
        f"layers/{name}": tuple(prefix.format(layer) + LAYER[name][column] for layer in range(config.layers))
        for name in wanted["layers"]
    }
    return top | layers


def is_transposed(name: str) -> bool:
    """Whether a parameter of that path is stored [outputs, inputs]: every matrix but the embedding."""
    return name.removeprefix("layers/") in (*MATRICES, "readout")


MATRICES = ("query", "key", "value", "out", "gate", "up", "down")
"""Matrices of a layer, [inputs, outputs] here."""


def _assembled(
    config: DecoderConfig,
    form: str,
    stored: Mapping[str, tuple[int, ...]],
    tensor: Callable[[str], np.ndarray],
    dtype: Any,
) -> Tree:
    """The tree of parameters, when the names and shapes of what is stored are those of the configuration.

    Raises:
        ValueError: they are not.
    """
    names = stored_names(config, form)
    wanted = decoder.shapes(config)
    expected = {one for several in names.values() for one in several}
    missing = sorted(expected - set(stored))
    extra = sorted(name for name in set(stored) - expected if not name.endswith(IGNORED))
    if missing:
        raise RefusedFile(f"tensors: {missing[0]} is missing ({len(missing)} in all); expected it of this architecture")
    if extra:
        raise RefusedFile(f"tensors: {extra[0]} is unknown ({len(extra)} in all); expected none of this architecture")
    params: dict[str, Any] = {"layers": {}}
    for path, several in names.items():
        inside = path.startswith("layers/")
        where, name = (params["layers"], path.removeprefix("layers/")) if inside else (params, path)
        shape = (wanted["layers"] if inside else wanted)[name]
        one_shape = shape[1:] if inside else shape
        flip = is_transposed(path)
        on_disk = one_shape[::-1] if flip else one_shape
        for one in several:
            if stored[one] != on_disk:
                raise RefusedFile(f"{one}: shape {stored[one]}; expected {on_disk} by the configuration")
        filled = np.empty(shape, jnp.dtype(dtype))
        for place, one in enumerate(several):
            found = tensor(one)
            filled[place if inside else ...] = found.T if flip else found
        where[name] = jnp.asarray(filled)
    return params


def save(folder: str | Path, config: DecoderConfig, params: Tree) -> None:
    """Write `config.json` and `model.safetensors`, which `load` and Hugging Face's libraries read.

    The tokenizer's files are the checkpoint's own, to be copied beside them.

    Args:
        folder: is made.
        config: the shape of the decoder, without factors of rotary positions.
        params: stacked.

    Raises:
        ValueError: positions with factors, whose origin a configuration does not tell.
        ImportError: a package of the extra `language` is missing.
    """
    if config.rope_factors is not None:
        raise InvalidInput("rope_factors: given; expected none, as config.json has no place for them")
    names = {(False, False): "LlamaForCausalLM", (True, False): "Qwen2ForCausalLM", (False, True): "Qwen3ForCausalLM"}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for path, several in stored_names(config, "hf").items():
        inside = path.startswith("layers/")
        leaf = params["layers"][path.removeprefix("layers/")] if inside else params[path]
        for place, one in enumerate(several):
            array = leaf[place] if inside else leaf
            arrays[one] = jnp.array(array.T if is_transposed(path) else array)
    package("safetensors.flax").save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    values = {
        "architectures": [names[config.qkv_bias, config.qk_norm]],
        "model_type": names[config.qkv_bias, config.qk_norm].removesuffix("ForCausalLM").lower(),
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.hidden,
        "rope_theta": config.rope_base,
        "rms_norm_eps": config.epsilon,
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "torch_dtype": str(jax.tree.leaves(params)[0].dtype),
    }
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n")
