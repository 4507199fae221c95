"""A decoder of the Llama family, one sequence, one head and one token at a time, in float64."""

import numpy as np


def logits(config, params, tokens):
    """[T, V] of the next token, with all tokens before it read anew for each."""
    stream = [np.asarray(params["embedding"][token], np.float64) for token in tokens]
    for index in range(config.layers):
        layer = {name: np.asarray(leaf[index], np.float64) for name, leaf in params["layers"].items()}
        stream = _block(config, layer, stream)
    read = np.asarray(params["embedding"], np.float64).T if config.tied else np.asarray(params["readout"], np.float64)
    return np.stack([_norm(config, np.asarray(params["norm"], np.float64), x) @ read for x in stream])


def _block(config, layer, stream):
    queries, keys, values = [], [], []
    for position, x in enumerate(stream):
        n = _norm(config, layer["attention_norm"], x)
        queries.append([_turn(config, q, position) for q in _heads(config, layer, "query", n)])
        keys.append([_turn(config, k, position) for k in _heads(config, layer, "key", n)])
        values.append(_heads(config, layer, "value", n))
    after = []
    shared = config.heads // config.kv_heads
    for position, x in enumerate(stream):
        heads = []
        for head in range(config.heads):
            q = queries[position][head]
            scores = [q @ keys[n][head // shared] / np.sqrt(config.head_width) for n in range(position + 1)]
            weights = np.exp(np.array(scores) - max(scores))
            weights = weights / weights.sum()
            heads.append(sum(weights[n] * values[n][head // shared] for n in range(position + 1)))
        middle = x + np.concatenate(heads) @ layer["out"]
        n = _norm(config, layer["mlp_norm"], middle)
        gate = n @ layer["gate"]
        after.append(middle + (gate / (1 + np.exp(-gate)) * (n @ layer["up"])) @ layer["down"])
    return after


def _heads(config, layer, name, n):
    y = n @ layer[name] + layer.get(f"{name}_bias", 0)
    heads = y.reshape(-1, config.head_width)
    gain = layer.get(f"{name}_norm")
    return [head if gain is None else _norm(config, gain, head) for head in heads]


def _turn(config, head, position):
    half = config.head_width // 2
    turned = head.copy()
    for pair in range(half):
        speed = config.rope_base ** (-2 * pair / config.head_width)
        speed = speed / (1 if config.rope_factors is None else config.rope_factors[pair])
        rotation = np.exp(1j * position * speed) * (head[pair] + 1j * head[pair + half])
        turned[pair], turned[pair + half] = rotation.real, rotation.imag
    return turned


def _norm(config, gain, x):
    return gain * x / np.sqrt(np.mean(x**2) + config.epsilon)
