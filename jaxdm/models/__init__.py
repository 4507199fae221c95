"""Networks behind a pure boundary, hand-set layers, and networks as agents."""

from jaxdm.models.agents import bandit_player, deploy, network_agent, online_player
from jaxdm.models.constructions import linear_attention, softmax_attention
from jaxdm.models.transformer import TransformerConfig, network

__all__ = [
    "TransformerConfig",
    "bandit_player",
    "deploy",
    "linear_attention",
    "network",
    "network_agent",
    "online_player",
    "softmax_attention",
]
