"""Supervised fine-tuning on expert-labelled trajectories, paper 1 (arXiv 2605.09009).

A `Task` is a solved instance; an `Expert` demonstrates and labels; `batch_loss` makes a training stage of a kind of
sequence (`behaviour_prompt`, `expert_prompt`, `dpt_prompt`); `trial` and `gap` measure the result on held-out tasks.
"""

from jaxdm.sft.data import Prompt, Setting, behaviour_prompt, dpt_prompt, expert_prompt
from jaxdm.sft.evaluation import Gap, Trial, gap, trial
from jaxdm.sft.experts import Expert, adversarial, myopic, oracle, soft_oracle
from jaxdm.sft.losses import batch_loss, prediction_loss
from jaxdm.sft.tasks import ExpertPolicy, Task, sample, solve_apomdp, solve_mdp, solve_room

__all__ = [
    "Expert",
    "ExpertPolicy",
    "Gap",
    "Prompt",
    "Setting",
    "Task",
    "Trial",
    "adversarial",
    "batch_loss",
    "behaviour_prompt",
    "dpt_prompt",
    "expert_prompt",
    "gap",
    "myopic",
    "oracle",
    "prediction_loss",
    "sample",
    "soft_oracle",
    "solve_apomdp",
    "solve_mdp",
    "solve_room",
    "trial",
]
