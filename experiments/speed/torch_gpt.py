"""The yardstick of the speed table: a GPT of our shape, written in PyTorch as one would first write it."""

import importlib
from typing import Any

import numpy as np

from jaxdm.models.transformer import TransformerConfig


def gpt(shape: TransformerConfig, features: int, outputs: int, longest: int) -> Any:
    """A `torch.nn.Module` from [B, T, F] to [B, T, O]: pre-norm blocks, PyTorch's own attention kernel.

    Positions are learned embeddings, as in GPT-2; they cost less than ours.

    Raises:
        ModuleNotFoundError: PyTorch is not installed.
    """
    torch = importlib.import_module("torch")
    nn = torch.nn
    width = shape.width

    class TorchBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(width)
            self.mlp_norm = nn.LayerNorm(width)
            self.read = nn.Linear(width, 3 * width, bias=False)
            self.out = nn.Linear(width, width, bias=False)
            hidden = shape.mlp_ratio * width
            self.mlp = nn.Sequential(
                nn.Linear(width, hidden, bias=False), nn.GELU(approximate="tanh"), nn.Linear(hidden, width, bias=False)
            )

        def forward(self, x: Any) -> Any:
            parts = self.read(self.norm(x)).unflatten(-1, (3, shape.heads, -1)).permute(2, 0, 3, 1, 4)
            seen = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).flatten(-2))
            return x + self.mlp(self.mlp_norm(x))

    class TorchDecoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(features, width)
            self.position = nn.Embedding(longest, width)
            self.blocks = nn.Sequential(*(TorchBlock() for _ in range(shape.layers)))
            self.norm = nn.LayerNorm(width)
            self.readout = nn.Linear(width, outputs)

        def forward(self, tokens: Any) -> Any:
            x = self.embed(tokens) + self.position(torch.arange(tokens.shape[1]))
            return self.readout(self.norm(self.blocks(x)))

    return TorchDecoder()


def training(module: Any, tokens: np.ndarray, label: np.ndarray, rate: float) -> Any:
    """A function that takes one AdamW step of the cross-entropy of the first A outputs on a fixed batch."""
    torch = importlib.import_module("torch")
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate)
    inputs, targets = torch.from_numpy(np.array(tokens)), torch.from_numpy(np.array(label))

    def step() -> None:
        optimiser.zero_grad()
        logits = module(inputs)[..., : targets.shape[-1]]
        (-(targets * logits.log_softmax(-1)).sum(-1).mean()).backward()
        optimiser.step()

    return step


def playing(module: Any, context: np.ndarray, actions: int, decisions: int) -> Any:
    """A function that takes `decisions` greedy decisions after contexts [B, N, F], all read again for each.

    The world answers with a token that is always the same: only the network is timed.
    """
    torch = importlib.import_module("torch")
    tokens = torch.from_numpy(np.array(context))

    def play() -> None:
        grown = tokens
        with torch.inference_mode():
            for _ in range(decisions):
                grown = torch.cat([grown, torch.zeros_like(grown[:, :1])], dim=1)
                grown[:, -1, 0] = module(grown)[:, -1, :actions].argmax(-1)

    return play
