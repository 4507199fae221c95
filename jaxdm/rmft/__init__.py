"""Iterative regret-minimisation fine-tuning, paper 2 (arXiv 2511.04393)."""

from jaxdm.rmft.baselines import imitation_loss, regret_loss, regret_training_loss
from jaxdm.rmft.distillation import Distillation, make_trainer, selection_size
from jaxdm.rmft.games import Game, Rollout, bandit_game, online_game, with_bank
from jaxdm.rmft.oracle_game import task_game

__all__ = [
    "Distillation",
    "Game",
    "Rollout",
    "bandit_game",
    "imitation_loss",
    "make_trainer",
    "online_game",
    "regret_loss",
    "regret_training_loss",
    "selection_size",
    "task_game",
    "with_bank",
]
