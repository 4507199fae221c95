"""Sizes of the regret-minimisation study: `quick` is a preview, `full` counts, `paper` is for a GPU, `toy` a trial."""

import dataclasses
from pathlib import Path

from jaxdm.models.transformer import TransformerConfig
from jaxdm.rmft.distillation import Distillation, selection_size

BANDIT = Distillation(
    rounds=100, scenarios=96, rollouts=8, keep=selection_size(4, 8), steps=8, batch=64, rate=1e-2, decay=0.1
)


REINFORCE = dataclasses.replace(BANDIT, keep=8, credit="to go", rate=1e-3, decay=0.0)


PPO = dataclasses.replace(REINFORCE, clip=0.2, rate=3e-3)


BANDIT_NETWORK = TransformerConfig(width=32, layers=1, heads=1, position="none", mlp_ratio=2)


DRIFT = dataclasses.replace(BANDIT, rounds=80, scenarios=64, keep=4, rate=5e-3, decay=0.0)


DRIFT_NETWORK = TransformerConfig(width=32, layers=1, heads=2, position="alibi", mlp_ratio=2)


BALL = dataclasses.replace(BANDIT, rounds=80, scenarios=128, rollouts=32, keep=6, exploration=2.5, merge=True)


SIMPLEX = dataclasses.replace(BALL, rounds=160, rollouts=64, keep=12, steps=6)


SQUARED = dataclasses.replace(
    BANDIT, rounds=80, scenarios=128, rollouts=8, keep=8, credit="square", exploration=0.5, batch=256, rate=5e-3
)


ONLINE_NETWORK = TransformerConfig(width=32, layers=1, heads=1, position="none", mlp_ratio=2)


DECISION_PROCESS = Distillation(rounds=40, scenarios=32, rollouts=8, keep=4, steps=4, batch=32, rate=2e-3)


DECISION_PROCESS_NETWORK = TransformerConfig(width=32, layers=2, heads=2, mlp_ratio=2)


ABLATED = Distillation(rounds=60, scenarios=16, rollouts=16, keep=8, steps=4, batch=32, rate=1e-2)


ABLATED_NETWORK = TransformerConfig(width=16, layers=1, heads=1, position="none", mlp_ratio=1)


SELECTION = dataclasses.replace(ABLATED, rounds=80)


PARTS = ("bandit", "simplex", "selection", "ball", "drift", "ablations", "pomdp", "mdp")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMFTConfig:
    """The regret-minimisation study; the quick preset is smaller than these defaults."""

    seeds: int = 3
    """Training seeds, the unit of every interval."""
    runs: int = 512
    """Evaluation episodes for each distribution and seed; where episodes are longer, fewer by that factor."""
    train_length: int = 50
    """Rounds of a bandit in training."""
    length: int = 100
    """Rounds of a bandit in evaluation."""
    stretch: int = 4
    """How many times longer the longest horizon of evaluation is."""
    bandit: Distillation = BANDIT
    """Fine-tuning on stationary bandits."""
    reinforce: Distillation = REINFORCE
    """REINFORCE, with as many rollouts and gradient steps: regret to go, its scenario's mean as baseline."""
    ppo: Distillation = PPO
    """Likewise with PPO's clipped ratio."""
    bandit_network: TransformerConfig = BANDIT_NETWORK
    pretraining_steps: int = 300
    """Gradient steps of the base that struggles, which imitates players that fail to explore."""
    pretraining_rate: float = 5e-3
    """Their peak learning rate."""
    tuned: bool = False
    """Whether RMFT, REINFORCE and PPO are each tuned, on seeds of their own, over as many candidates."""
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    """Learning rates of the candidates."""
    keeps: tuple[int, ...] = (3, 5)
    """k of RMFT's candidates, for each rate."""
    entropies: tuple[float, ...] = (0.0, 0.02)
    """Weights of the entropy of REINFORCE's and PPO's, as many as `keeps`."""
    deviations: tuple[float, ...] = (0.5, 1.0)
    """Standard deviations of Gaussian rewards, which are not met in training."""
    drift: Distillation = DRIFT
    """Fine-tuning on switching bandits, whose means are all drawn anew at random rounds."""
    drift_network: TransformerConfig = DRIFT_NETWORK
    drift_chance: float = 0.03
    """Chance of a switch before each round."""
    online_length: int = 25
    """Rounds of online learning."""
    simplex: Distillation = SIMPLEX
    """Fine-tuning on losses in [0, 1], three arms of five; the noisy outputs behind a decision are imitated."""
    ball: Distillation = BALL
    """Likewise on losses in the unit ball, two coordinates of four."""
    online_network: TransformerConfig = ONLINE_NETWORK
    """A single layer of softmax attention."""
    simplex_others: tuple[str, ...] = ()
    """Other networks that are fine-tuned on the simplex: "linear attention", "two layers"."""
    ball_others: tuple[str, ...] = ("linear attention",)
    """Likewise on the ball."""
    rate_scales: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    """Rates `scale / sqrt(T)` that Hedge and FTRL are tuned over, for each distribution and horizon."""
    attacks: int = 16
    """Random loss sequences from which gradient ascent starts; the worst sequence found counts."""
    attack_cycles: int = 1
    """How often a network is attacked and fine-tuned on what was found, mixed with the distributions of training."""
    squared: Distillation = SQUARED
    """Fine-tuning of the same networks with weights by squared regret, which has no selection."""
    attack_steps: int = 100
    """Steps of gradient ascent."""
    decision_process: Distillation = DECISION_PROCESS
    """Fine-tuning on rooms (MDPs and POMDPs), with regret from the oracle's values and no labels of actions."""
    decision_process_network: TransformerConfig = DECISION_PROCESS_NETWORK
    side: int = 3
    """Cells along a wall of a dark room (MDP), and of a hidden-mode room (POMDP)."""
    horizon: int = 6
    """Steps of an episode in a room."""
    tasks: int = 1000
    """Rooms to train on; an eighth as many are held out."""
    sft_steps: tuple[int, int] = (300, 1000)
    """Gradient steps of supervised fine-tuning (SFT), which comes first, in MDPs and in POMDPs."""
    sft_rate: float = 3e-3
    """Its peak learning rate."""
    sft_batch: int = 32
    """Sequences of its gradient step."""
    ablated: Distillation = ABLATED
    """Fine-tuning on bandits with three arms, where one hyperparameter is changed at a time."""
    ablated_length: int = 20
    """Rounds of these bandits."""
    ablated_network: TransformerConfig = ABLATED_NETWORK
    selection: Distillation = SELECTION
    """Fine-tuning on bandits with one gap, where the share k / L of rollouts selected is varied."""
    selection_arms: tuple[int, ...] = (2, 3, 5, 8)
    """K of these bandits."""
    baseline_steps: int = 300
    """Gradient steps of the baselines that imitate another agent, or descend regret."""
    baseline_rate: float = 5e-3
    """Their peak learning rate."""
    baseline_batch: int = 64
    """Rollouts of their gradient step."""
    baselines: bool = True
    """Whether baselines are trained too, and all are evaluated on longer horizons and other rewards."""
    parts: tuple[str, ...] = PARTS
    """What is studied, the longest first, so that parts which run at once end together."""
    workers: int = 2
    """Parts that run at once."""
    seed: int = 0
    """Of all random streams."""
    results: Path = Path("results")
    """Where results go."""


TOY_DISTILLATION = Distillation(rounds=2, scenarios=2, rollouts=4, keep=2, steps=2, batch=2)


TOY_NETWORK = dataclasses.replace(ABLATED_NETWORK, width=8)


TOY_GRADIENT = dataclasses.replace(TOY_DISTILLATION, keep=4, credit="to go")


PAPER_DRIFT = dataclasses.replace(DRIFT, rounds=600, scenarios=256, rollouts=16, keep=8, steps=16, batch=256, rate=3e-3)


PAPER_BANDIT = dataclasses.replace(PAPER_DRIFT, keep=selection_size(4, 16), decay=0.1)


PAPER_GRADIENT = dataclasses.replace(PAPER_BANDIT, keep=16, credit="to go", decay=0.0)


FULL_GRADIENT = dataclasses.replace(REINFORCE, rounds=240)


def preview(run: Distillation, rounds: int) -> Distillation:
    """The same run with fewer rounds."""
    return dataclasses.replace(run, rounds=rounds)


PRESETS = {
    "quick": RMFTConfig(
        runs=128,
        bandit=preview(BANDIT, 50),
        reinforce=preview(REINFORCE, 50),
        ppo=preview(PPO, 50),
        deviations=(1.0,),
        drift=preview(DRIFT, 40),
        simplex=preview(SIMPLEX, 80),
        ball=preview(BALL, 50),
        squared=preview(SQUARED, 40),
        ball_others=(),
        attacks=8,
        attack_steps=50,
        selection=preview(SELECTION, 40),
        selection_arms=(2, 5),
        ablated=preview(ABLATED, 40),
        baseline_steps=150,
    ),
    "full": RMFTConfig(
        seeds=8,
        bandit=dataclasses.replace(BANDIT, rounds=240),
        reinforce=FULL_GRADIENT,
        ppo=dataclasses.replace(PPO, rounds=240),
        pretraining_steps=1000,
        tuned=True,
        drift=dataclasses.replace(DRIFT, rounds=160),
        selection=dataclasses.replace(SELECTION, rounds=120),
        simplex_others=("linear attention", "two layers"),
        ball_others=("linear attention", "two layers"),
        attacks=32,
        attack_steps=150,
        attack_cycles=2,
        squared=dataclasses.replace(SQUARED, rounds=160),
        baseline_steps=1000,
    ),
    "paper": RMFTConfig(
        seeds=8,
        runs=4096,
        train_length=100,
        tuned=True,
        pretraining_steps=4000,
        bandit=PAPER_BANDIT,
        reinforce=PAPER_GRADIENT,
        ppo=dataclasses.replace(PAPER_GRADIENT, clip=0.2),
        keeps=(5, 8),
        bandit_network=TransformerConfig(width=64, layers=2, heads=2, position="none"),
        drift_network=TransformerConfig(),
        drift=PAPER_DRIFT,
        simplex=dataclasses.replace(SIMPLEX, rounds=600, scenarios=256),
        ball=dataclasses.replace(BALL, rounds=600, scenarios=256),
        decision_process=dataclasses.replace(
            DECISION_PROCESS, rounds=400, scenarios=128, rollouts=16, keep=8, rate=1e-3
        ),
        decision_process_network=TransformerConfig(width=128, layers=4, heads=4),
        simplex_others=("linear attention", "two layers"),
        ball_others=("linear attention", "two layers"),
        side=5,
        horizon=15,
        tasks=3200,
        sft_steps=(5000, 5000),
        baseline_steps=4000,
    ),
    "toy": RMFTConfig(
        baselines=False,
        parts=("simplex", "ball"),
        seeds=2,
        runs=16,
        train_length=4,
        length=6,
        stretch=2,
        online_length=4,
        attacks=2,
        attack_steps=2,
        side=3,
        horizon=3,
        tasks=8,
        sft_steps=(2, 2),
        ablated_length=4,
        baseline_steps=2,
        baseline_batch=2,
        pretraining_steps=2,
        keeps=(1, 2),
        bandit=TOY_DISTILLATION,
        reinforce=TOY_GRADIENT,
        ppo=dataclasses.replace(TOY_GRADIENT, clip=0.2),
        selection=TOY_DISTILLATION,
        selection_arms=(2,),
        drift=TOY_DISTILLATION,
        simplex=dataclasses.replace(TOY_DISTILLATION, merge=True),
        ball=TOY_DISTILLATION,
        squared=dataclasses.replace(TOY_DISTILLATION, keep=4, credit="square", exploration=0.5),
        decision_process=TOY_DISTILLATION,
        ablated=TOY_DISTILLATION,
        bandit_network=TOY_NETWORK,
        drift_network=TOY_NETWORK,
        online_network=TOY_NETWORK,
        decision_process_network=TOY_NETWORK,
        ablated_network=TOY_NETWORK,
    ),
}
