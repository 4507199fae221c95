"""Supervised fine-tuning on expert-labelled trajectories, paper 1 (arXiv 2605.09009).

A `Task` is a solved instance, a `Family` a distribution of them; an `Expert` demonstrates and labels; `gather` makes a
fixed set of sequences of a kind (`expert_sequence`, `dpt_sequence`, ...), which `write` and `read` store; `stored_loss`
and `batch_loss` make a training stage; `trial` and `gap` measure the result on held-out tasks.
"""

from jaxdm.sft.data import (
    Prompt,
    Sequence,
    Setting,
    behaviour_sequence,
    dpt_sequence,
    expert_sequence,
    learning_sequence,
)
from jaxdm.sft.evaluation import Gap, Trial, gap, trial
from jaxdm.sft.experts import Expert, adversarial, myopic, oracle, soft_oracle
from jaxdm.sft.losses import batch_loss, prediction_loss, stored_loss
from jaxdm.sft.offline import Stored, gather, read, store, write
from jaxdm.sft.tasks import (
    ExpertPolicy,
    Family,
    Task,
    sample,
    solve_apomdp,
    solve_mdp,
    solve_pomdp,
    solve_room,
    solve_tree,
    split_identities,
)
from jaxdm.sft.worlds import around, setting

__all__ = [
    "Expert",
    "ExpertPolicy",
    "Family",
    "Gap",
    "Prompt",
    "Sequence",
    "Setting",
    "Stored",
    "Task",
    "Trial",
    "adversarial",
    "around",
    "batch_loss",
    "behaviour_sequence",
    "dpt_sequence",
    "expert_sequence",
    "gap",
    "gather",
    "learning_sequence",
    "myopic",
    "oracle",
    "prediction_loss",
    "read",
    "sample",
    "setting",
    "soft_oracle",
    "solve_apomdp",
    "solve_mdp",
    "solve_pomdp",
    "solve_room",
    "solve_tree",
    "split_identities",
    "store",
    "stored_loss",
    "trial",
    "write",
]
