"""The primary rows of the fine-tuning study, named on 2026-11-25, before any run of the `full` preset.

They are what the abstract of paper 1 says, made so that each could come out otherwise: "substantially smaller
optimality gaps than in-context-only and random baselines, with especially large gains in longer-horizon, partially
observed, and model-ambiguous environments", of "pretrained" models that are fine-tuned on "offline, oracle-labeled
trajectories". All are measured on held-out tasks whose identities were not trained on, with the same 8 training seeds;
everything else that the study says is exploratory.
"""

PRIMARY = (
    # smaller gaps than in-context-only and random baselines, in each kind of environment
    "SFT-MDP-order",
    "SFT-POMDP-order",
    "SFT-APOMDP-order",
    # substantially: at most half of what is left without fine-tuning, the three settings together
    "SFT-half",
    # longer horizons, at equal numbers of demonstrated episodes, and of demonstrated steps
    "SFT-horizon-episodes",
    "SFT-horizon-steps",
    # partial observability: within the POMDPs, and from the MDP to the POMDP
    "SFT-cue-accuracy",
    "SFT-hidden",
    # ambiguity: more models, where not knowing which is true costs
    "SFT-models",
    # pretrained: few labels do more for a pretrained network than for one with random weights
    "SFT-pretraining",
    # not by copying: beyond the demonstrations' vote; and not without them: the control
    "SFT-vote",
    "SFT-control",
)
