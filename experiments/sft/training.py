"""The training stages of the fine-tuning study: how sequences are made, and what is predicted on them."""

import numpy as np

from jaxdm import trainer
from jaxdm.sft import data
from jaxdm.sft.data import Setting
from jaxdm.sft.losses import Targets, batch_loss
from jaxdm.types import Network


def pretrainer(
    network: Network, setting: Setting, *, supports: int, batch: int, rate: float, steps: int
) -> trainer.Trainer:
    """Pretraining: predict action, observation and reward of unlabelled behaviour.

    Args:
        network: with the features and outputs of `setting.spaces`.
        setting: kind of world.
        supports: K, context episodes of a sequence.
        batch: sequences of a gradient step.
        rate: peak learning rate.
        steps: gradient steps.
    """
    loss = batch_loss(network, setting, data.behaviour_prompt, supports=supports, batch=batch, targets="all")
    return trainer.make(loss, trainer.adamw(rate, steps))


def imitator(
    network: Network,
    setting: Setting,
    prompt: data.Item = data.expert_prompt,
    *,
    supports: int,
    batch: int,
    targets: Targets,
    rate: float,
    steps: int,
) -> trainer.Trainer:
    """Imitation: predict the expert's actions, on expert demonstrations (SFT) or on unlabelled behaviour (DPT).

    Args:
        network: with the features and outputs of `setting.spaces`.
        setting: kind of world.
        prompt: makes a sequence.
        supports: K, context episodes of a sequence.
        batch: sequences of a gradient step.
        targets: "actions", or "all" to predict observations and rewards too.
        rate: peak learning rate.
        steps: gradient steps.
    """
    loss = batch_loss(network, setting, prompt, supports=supports, batch=batch, targets=targets)
    return trainer.make(loss, trainer.adamw(rate, steps))


def loss_curve(losses: np.ndarray, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Training losses [seeds, steps] averaged over windows of nearly equal length.

    Returns:
        The last step of each window [points], and means [seeds, points].
    """
    windows = np.array_split(np.arange(losses.shape[1]), min(points, losses.shape[1]))
    last = np.array([window[-1] + 1 for window in windows])
    return last, np.stack([losses[:, window].mean(axis=1) for window in windows], axis=1)
