"""Sizes of the regret-minimisation study: `quick` for two CPU cores, `paper` for a GPU, `toy` for trying the path."""

import dataclasses
from pathlib import Path

from jaxdm.models.transformer import TransformerConfig
from jaxdm.rmft.distillation import Distillation

ARMS = 6
"""Slots of a bandit; training leaves some of them unavailable, at random places."""


BANDIT = Distillation(rounds=100, scenarios=96, rollouts=8, keep=5, steps=8, batch=64, rate=1e-2, decay=0.1)


BANDIT_NETWORK = TransformerConfig(width=32, layers=1, heads=1, position="none", mlp_ratio=2)


DRIFT = dataclasses.replace(BANDIT, rounds=80, scenarios=64, keep=4, rate=5e-3, decay=0.0)


DRIFT_NETWORK = TransformerConfig(width=32, layers=1, heads=2, position="alibi", mlp_ratio=2)


BALL = dataclasses.replace(BANDIT, rounds=80, scenarios=128, rollouts=32, keep=6, exploration=2.5, merge=True)


SIMPLEX = dataclasses.replace(BALL, rounds=160, rollouts=64, keep=12, steps=6)


ONLINE_NETWORK = TransformerConfig(width=32, layers=1, heads=1, position="none", mlp_ratio=2)


SOLVED = Distillation(rounds=40, scenarios=32, rollouts=8, keep=4, steps=4, batch=32, rate=2e-3)


SOLVED_NETWORK = TransformerConfig(width=32, layers=2, heads=2, mlp_ratio=2)


ABLATED = Distillation(rounds=60, scenarios=16, rollouts=16, keep=8, steps=4, batch=32, rate=1e-2)


ABLATED_NETWORK = TransformerConfig(width=16, layers=1, heads=1, position="none", mlp_ratio=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the study; every default is the quick preset's."""

    name: str = "quick"
    """Of the preset, for the commands in the report."""
    seeds: int = 3
    """Training seeds, the unit of every interval."""
    runs: int = 512
    """Worlds of each law and seed in which everyone is judged; where episodes are longer, fewer by that factor."""
    train_length: int = 50
    """Rounds of a bandit in training."""
    length: int = 100
    """Rounds when judged."""
    stretch: int = 4
    """How many times longer the longest judged horizon is."""
    bandit: Distillation = BANDIT
    """Fine-tuning on bandits that stand still."""
    bandit_network: TransformerConfig = BANDIT_NETWORK
    drift: Distillation = DRIFT
    """Fine-tuning on bandits whose means are all drawn anew, three times an episode in expectation."""
    drift_network: TransformerConfig = DRIFT_NETWORK
    online_length: int = 25
    """Rounds of online learning."""
    simplex: Distillation = SIMPLEX
    """Fine-tuning on losses in [0, 1], three arms of five; noisy outputs make laws, and are imitated."""
    ball: Distillation = BALL
    """Likewise on losses in the unit ball, two coordinates of four."""
    online_network: TransformerConfig = ONLINE_NETWORK
    """A single layer of softmax attention."""
    simplex_others: tuple[str, ...] = ()
    ball_others: tuple[str, ...] = ("linear attention",)
    """Beside it, on either set; also "two layers"."""
    attacks: int = 16
    """Sequences from which a network is attacked; the worst that is found counts."""
    attack_steps: int = 100
    """Steps of gradient ascent."""
    solved: Distillation = SOLVED
    """Fine-tuning on rooms, with regret from the oracle's values and no labels of actions."""
    solved_network: TransformerConfig = SOLVED_NETWORK
    side: int = 3
    """Cells along a wall of a dark room, and of one with hidden moods."""
    horizon: int = 6
    """Steps of an episode."""
    tasks: int = 1000
    """Rooms to train on; an eighth as many are held out."""
    sft_steps: tuple[int, int] = (300, 1000)
    """Gradient steps of supervised fine-tuning, before regret, in MDPs and POMDPs: those take longer to be learnt."""
    ablated: Distillation = ABLATED
    """Fine-tuning in the smallest world, where switches are turned one at a time."""
    ablated_length: int = 20
    ablated_network: TransformerConfig = ABLATED_NETWORK
    teacher_steps: int = 300
    """Gradient steps of rivals that imitate someone else, or descend regret."""
    teacher_rate: float = 5e-3
    """Their peak learning rate."""
    reinforce: tuple[float, ...] = (6e-4,)
    """Learning rates that REINFORCE is tuned over, by the regret of its last rounds; the best of `paper`'s three."""
    teacher_batch: int = 64
    """Episodes of such a step."""
    rivals: bool = True
    """Whether rivals are trained too, and all judged on longer horizons and other rewards."""
    parts: tuple[str, ...] = ("bandit", "simplex", "ball", "ablations", "drift", "pomdp", "mdp")
    """What is studied, in the order in which it is begun: the longest first, and at the end what is short."""
    workers: int = 2
    """Parts that run at once."""
    seed: int = 0
    """Of everything random."""
    results: Path = Path("results")
    """Where results go."""


TINY = Distillation(rounds=2, scenarios=2, rollouts=4, keep=2, steps=2, batch=2)


SPECK = dataclasses.replace(ABLATED_NETWORK, width=8)


LONG = dataclasses.replace(DRIFT, rounds=600, scenarios=256, rollouts=16, keep=8, steps=16, batch=256, rate=3e-3)


PRESETS = {
    "quick": Config(),
    "paper": Config(
        name="paper",
        seeds=5,
        runs=4096,
        train_length=100,
        bandit=dataclasses.replace(LONG, keep=10, decay=0.1),
        bandit_network=TransformerConfig(width=64, layers=2, heads=2, position="none"),
        drift_network=TransformerConfig(),
        drift=LONG,
        simplex=dataclasses.replace(SIMPLEX, rounds=600, scenarios=256),
        ball=dataclasses.replace(BALL, rounds=600, scenarios=256),
        solved=dataclasses.replace(SOLVED, rounds=400, scenarios=128, rollouts=16, keep=8, rate=1e-3),
        solved_network=TransformerConfig(width=128, layers=4, heads=4),
        simplex_others=("linear attention", "two layers"),
        ball_others=("linear attention", "two layers"),
        side=5,
        horizon=15,
        tasks=3200,
        sft_steps=(5000, 5000),
        teacher_steps=4000,
        reinforce=(2e-4, 6e-4, 2e-3),
    ),
    "toy": Config(
        name="toy",
        rivals=False,
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
        reinforce=(5e-3,),
        horizon=3,
        tasks=8,
        sft_steps=(2, 2),
        ablated_length=4,
        teacher_steps=2,
        teacher_batch=2,
        bandit=TINY,
        drift=TINY,
        simplex=dataclasses.replace(TINY, merge=True),
        ball=TINY,
        solved=TINY,
        ablated=TINY,
        bandit_network=SPECK,
        drift_network=SPECK,
        online_network=SPECK,
        solved_network=SPECK,
        ablated_network=SPECK,
    ),
}
