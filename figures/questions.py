"""What the report asks, and whose words it quotes: the papers' sentences, and the questions under which rows stand.

Rows are named by patterns over their ids (`*` stands for anything), figures by patterns over their names; the first
question that names a row has it. In a text, `[N2]` becomes a link to that row, what stands between backticks is
typeset, and straight quotes become curly. The full texts of the papers were not at hand. What is quoted is therefore
marked: `WORDS` are the paper's own, `ABSTRACT` is its abstract in other words, `SECOND_HAND` is from public replication
notes and reviews.
"""

from typing import NamedTuple

WORDS, ABSTRACT, SECOND_HAND = "its words", "its abstract, in other words", "second-hand"


class Says(NamedTuple):
    """What a paper says of some rows."""

    rows: tuple[str, ...]
    text: str
    hand: str  # `WORDS`, `ABSTRACT` or `SECOND_HAND`


class Question(NamedTuple):
    """A section of the report."""

    id: str
    title: str
    text: str
    rows: tuple[str, ...]
    figures: tuple[str, ...]
    command: str  # brings its rows
    formulas: tuple[tuple[str, str], ...] = ()  # displayed, each with its name


class Sentence(NamedTuple):
    """A line of the summary: a sentence, and the rows that answer it, the one whose number is shown first."""

    text: str
    hand: str
    rows: tuple[str, ...]
    question: str  # id of the section that tells more; empty where nothing is studied
    number: str  # what the first row measures
    figure: str = ""


class Part(NamedTuple):
    """A paper, or the theorems."""

    id: str
    title: str
    source: str
    sentences: tuple[Sentence, ...]
    questions: tuple[Question, ...]


SFT, RMFT, THEORY = "python -m experiments.sft full", "python -m experiments.rmft full", "python -m theory"


NO_REGRET = (
    "What a single layer can be: with one gain `-eta` for everything it has seen, and a projection, it plays FTRL "
    "[N1], and on every sequence its regret is within the bound above [N2], which is attained [N2b]; on unit losses "
    "the worst case is known exactly [N16]. With softmax attention the regulariser grows with the rounds [N7]. "
    "What training makes of it is another matter. The squared regret has its least value at such a layer [N3]. A "
    "round of RMFT on shared losses keeps noise that points along them [N4]: with weight decay, on losses that "
    "drift, it leads to such a layer from either side, with no regret if the decay is chosen by the number of "
    "rounds, and not with a fixed one; without drift it leads nowhere, and on alternating losses the wrong way "
    "[N5]. Without decay or drift, a pool that drops its worst rollouts, or weighs them by minus their squared "
    "regret, leads there as well; one that keeps a few of the best leads away [N12]. On bandits, keeping a share "
    "below `1 / K` ends in commitment to a random arm [N13]. A round follows `grad log P(kept)` [N14], which is no "
    "policy gradient [N8]: where too many rollouts are kept it ends in certain mediocrity, and it costs 2.47 times "
    "the rollouts at least [N15]. Whether a trained network has no regret is measured, sequence by sequence, under "
    "paper 2."
)
"""The theorems on regret in one paragraph."""


PARTS = (
    Part(
        id="paper-1",
        title="Paper 1: supervised fine-tuning",
        source="LLMs for Sequential Decision-Making: Improving In-Context Learning via Supervised Fine-Tuning, "
        "arXiv 2605.09009",
        sentences=(
            Sentence(
                text='"substantially smaller optimality gaps than in-context-only and random baselines"',
                hand=WORDS,
                rows=("SFT-half", "SFT-MDP-order", "SFT-POMDP-order", "SFT-APOMDP-order"),
                question="gap",
                number="SFT's gap over ICL-only's",
                figure="sft_gap",
            ),
            Sentence(
                text='"especially large gains in longer-horizon" environments',
                hand=WORDS,
                rows=("SFT-horizon-episodes", "SFT-horizon-steps"),
                question="where",
                number="gain per step of horizon",
                figure="sft_gain",
            ),
            Sentence(
                text='... "partially observed" ones',
                hand=WORDS,
                rows=("SFT-cue-accuracy", "SFT-hidden"),
                question="where",
                number="gain per unit of noise",
                figure="sft_gain",
            ),
            Sentence(
                text='... "model-ambiguous" ones',
                hand=WORDS,
                rows=("SFT-models", "SFT-ambiguous"),
                question="where",
                number="gain per model",
                figure="sft_gain",
            ),
            Sentence(
                text='pretrained models learn "directly from offline, oracle-labeled trajectories"',
                hand=WORDS,
                rows=("SFT-pretraining",),
                question="labels",
                number="gap from scratch less SFT's",
                figure="sft_labels",
            ),
            Sentence(
                text='"flexible imitation of policies"',
                hand=WORDS,
                rows=("SFT-imitation",),
                question="imitation",
                number="least lead in overlap",
                figure="sft_imitation",
            ),
            Sentence(
                text="a fine-tuned attention layer implicitly estimates optimal Q-functions from in-context data",
                hand=ABSTRACT,
                rows=("L7", "L2", "L3", "L4"),
                question="estimation",
                number="excess risk of a trained layer",
                figure="theory_preconditioner",
            ),
            Sentence(
                text="suboptimality separates in-context estimation error from training-length bias",
                hand=ABSTRACT,
                rows=("L6b", "L5", "L7b"),
                question="estimation",
                number="loss over the bound",
                figure="theory_two_terms",
            ),
        ),
        questions=(
            Question(
                id="gap",
                title="Does SFT beat in-context learning alone on new tasks, and by how much?",
                text="The optimality gap is the share lost of what the oracle gains over random play, on held-out "
                "tasks whose goal and controls no network was trained on: 0 is the oracle, 1 random play. ICL-"
                "only is the pretrained network, shown the same demonstrations.",
                rows=("SFT-half", "SFT-*-order", "SFT-*-half", "SFT-*-sampled", "SFT-*-posterior"),
                figures=("sft_gap", "sft_tasks"),
                command=SFT,
            ),
            Question(
                id="where",
                title="Where is the gain larger: longer horizons, hidden states, more models?",
                text="Each row asks whether ICL-only's gap less SFT's, seed by seed, grows along an axis.",
                rows=("SFT-horizon-*", "SFT-cue-accuracy", "SFT-hidden", "SFT-models", "SFT-ambiguous"),
                figures=("sft_gain", "sft_axes"),
                command=SFT,
            ),
            Question(
                id="context",
                title="Does it use its demonstrations, and more than by copying them?",
                text="The vote copies what was demonstrated at the observation at hand. A network that does better, "
                "and worse when shown another task's demonstrations, has learnt from them.",
                rows=("SFT-vote", "SFT-*-vote", "SFT-control", "SFT-*-control", "SFT-*-context", "SFT-belief"),
                figures=("sft_learnt",),
                command=SFT,
            ),
            Question(
                id="labels",
                title="What do pretraining and labels buy, and do other methods do as well?",
                text="The same stored sequences for the pretrained network and for one with random weights; beside "
                "SFT, decision-pretrained transformers (DPT) and algorithm distillation, with as many gradient "
                "steps.",
                rows=("SFT-pretraining", "SFT-labels", "SFT-*-scratch", "SFT-*-DPT", "SFT-*-distillation"),
                figures=("sft_labels", "sft_curves"),
                command=SFT,
            ),
            Question(
                id="imitation",
                title="Does it imitate whichever expert it is shown?",
                text="Networks fine-tuned on different experts, judged by whose actions they take.",
                rows=("SFT-imitation", "SFT-*"),
                figures=("sft_imitation", "sft_*"),
                command=SFT,
            ),
        ),
    ),
    Part(
        id="paper-2",
        title="Paper 2: regret-minimisation fine-tuning (RMFT)",
        source="Post-Training LLMs as Better Decision-Making Agents: A Regret-Minimization Approach, arXiv 2511.04393",
        sentences=(
            Sentence(
                text='"repeatedly distills low-regret decision trajectories back into the '
                'base model": transformers with numerical input improve',
                hand=ABSTRACT,
                rows=("RMFT-regret", "RMFT-suffix", "RMFT-tries"),
                question="training",
                number="regret before less after",
                figure="rmft_regret",
            ),
            Sentence(
                text="it generalises over horizons",
                hand=ABSTRACT,
                rows=("RMFT-longer",),
                question="elsewhere",
                number="regret before less after",
                figure="rmft_transfer",
            ),
            Sentence(
                text="... over action spaces and reward processes",
                hand=ABSTRACT,
                rows=("RMFT-elsewhere",),
                question="elsewhere",
                number="regret after over before, worst",
                figure="rmft_transfer",
            ),
            Sentence(
                text="it is unlike distilling known algorithms' action sequences; here: less regret than they leave",
                hand=ABSTRACT,
                rows=("RMFT-distilled UCB", "RMFT-distilled Thompson", "RMFT-optimal-arm labels"),
                question="baselines",
                number="regret of distilled UCB less RMFT's",
                figure="rmft_training",
            ),
            Sentence(
                text='"A single-layer Transformer under this paradigm can act as a '
                'no-regret learner in a simplified setting" (arXiv version)',
                hand=WORDS,
                rows=("RMFT-attacked", "RMFT-online"),
                question="no-regret",
                number="growth of attacked regret in 2 T",
                figure="rmft_linear",
            ),
            Sentence(
                text="open-weight LLMs and GPT-4o mini improve, also in natural-language contexts",
                hand=ABSTRACT,
                rows=("LM-*",),
                question="",
                number="",
            ),
        ),
        questions=(
            Question(
                id="training",
                title="Does imitating its own low-regret rollouts make a network better where it was trained?",
                text="The base imitates players that fail to explore. `SuffFailFreq(T / 2)` is the share of runs that "
                "play the best arm in no round of the second half; `K MinFrac(T)` is how often the arm least played "
                "is, in units of an equal share.",
                rows=("RMFT-regret", "RMFT-suffix", "RMFT-tries", "RMFT-gives-up", "RMFT-training", "RMFT-random*"),
                figures=("rmft_training", "rmft_regret", "rmft_exploration", "rmft_failures"),
                command=RMFT,
            ),
            Question(
                id="baselines",
                title="How does it compare with classical players, policy gradients and distillation?",
                text="Every classical player is tuned for each distribution in other episodes; REINFORCE and PPO have "
                "as many environment steps and tuning runs.",
                rows=("RMFT-classical*", "RMFT-gradient", "RMFT-distilled*", "RMFT-optimal-arm*"),
                figures=("bandit",),
                command=RMFT,
            ),
            Question(
                id="no-regret",
                title="Is the trained network no-regret, and on which sequences not?",
                text="No regret means no part of it that is linear in the rounds. That part is fitted for every "
                "network on every distribution of losses, and under attack: gradient ascent through the network "
                "looks for the losses that hurt it most. On what a layer can do in principle, see the theorems.",
                rows=("RMFT-online", "RMFT-attacked", "RMFT-simplex*", "RMFT-ball*"),
                figures=("rmft_linear", "rmft_online"),
                command=RMFT,
            ),
            Question(
                id="moving",
                title="Does it follow means that move?",
                text="Bandits whose means are redrawn at random rounds; regret is against the best arm of each round.",
                rows=("RMFT-drift*", "RMFT-switch", "RMFT-settled"),
                figures=("rmft_drift",),
                command=RMFT,
            ),
            Question(
                id="selection",
                title="Which choices of the algorithm matter?",
                text="Theory has a threshold: where a share `k / L` of rollouts below `1 / K` is kept, committing to a "
                "random arm attracts [N13].",
                rows=("RMFT-threshold", "RMFT-share-*", "RMFT-iterated"),
                figures=("rmft_selection", "rmft_ablations"),
                command=RMFT,
            ),
            Question(
                id="decisions",
                title="Does it work in MDPs and POMDPs, without labels of actions?",
                text="Regret from the oracle's values, after supervised fine-tuning and from scratch.",
                rows=("RMFT-after-SFT-*", "RMFT-scratch-*"),
                figures=(),
                command=RMFT,
            ),
            Question(
                id="elsewhere",
                title="Does it help where it was not trained: longer, more arms, other rewards?",
                text="Regret after fine-tuning over that before, on every distribution that was evaluated.",
                rows=("RMFT-longer", "RMFT-elsewhere", "RMFT-*"),
                figures=("rmft_transfer", "rmft_*"),
                command=RMFT,
            ),
        ),
    ),
    Part(
        id="theorems",
        title="Theory: the two bounds, and no regret",
        source="checked by computation, each beside wrong versions that must be rejected",
        sentences=(
            Sentence(
                text="One attention layer, greedy play: `E[V* - V] <= sqrt(2) sum_h sqrt(C_h (est_h / M + bias_h))`",
                hand="",
                rows=("L6b",),
                question="estimation",
                number="largest share of the bound",
                figure="theory_two_terms",
            ),
            Sentence(
                text="One attention layer as FTRL, any losses: `Regret <= R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2`",
                hand="",
                rows=("N2", "N1"),
                question="regret",
                number="largest share of the bound",
                figure="online_attack",
            ),
            Sentence(
                text="What RMFT makes of such a layer: when it is FTRL, when not, and the traps",
                hand="",
                rows=("N5", "N12", "N13", "N14", "N4", "N8"),
                question="regret",
                number="deviation, of tolerance",
                figure="theory_no_regret",
            ),
        ),
        questions=(
            Question(
                id="estimation",
                title="Which theorem says that an attention layer estimates Q*, and what does that cost in play?",
                text="In a linear MDP Q* is linear in the features [L1]; a layer of linear attention answers as one "
                "preconditioned gradient step does [L2], and training ends at the best preconditioner [L3] [L4] [L7]. "
                "Its error splits, exactly, into a part that demonstrations shrink and one that only longer training "
                "contexts do [L5], and greedy play inherits both [L6b] [L7b]. It stops to hold for features of "
                "another scale [L8a], for softmax attention beyond its training length [L8c], and the size of the "
                "answers is lost by training on actions [L8d].",
                rows=("L*",),
                figures=(
                    "theory_two_terms",
                    "theory_trained_play",
                    "theory_rates",
                    "theory_preconditioner",
                    "theory_shift",
                    "theory_on_policy",
                    "theory_softmax",
                    "theory_actions",
                ),
                command=THEORY,
                formulas=(
                    ("L5", "E e^2 = est / M + bias"),
                    ("L6b", "E[V* - V] <= sqrt(2) sum_h sqrt(C_h (est_h / M + bias_h))"),
                ),
            ),
            Question(
                id="regret",
                title="Which theorem says that a layer has no regret, and what does training make of it?",
                text=NO_REGRET,
                rows=("N*", "O*", "online *"),
                figures=("theory_*", "online_*"),
                command=THEORY,
                formulas=(("N2", "Regret <= R^2 / (2 eta) + (eta / 2) sum_t |l_t|^2"),),
            ),
            Question(
                id="hidden",
                title="Do the oracles for hidden states and ambiguous models obey what is known of them?",
                text="",
                rows=("P*", "A*"),
                figures=(),
                command=THEORY,
            ),
            Question(
                id="sweeps",
                title="How do regret and gap depend on what is swept: learning rate, selection, quality, attitude?",
                text="",
                rows=("SWEEP *",),
                figures=("sweep_*",),
                command="python -m experiments.rmft sweep --bandit.rate 1e-3 3e-3 --bandit.keep 2 4 8 --seeds 64",
            ),
            Question(
                id="classical",
                title="Do classical players and learners behave as known?",
                text="The ground that the networks are compared on.",
                rows=("*",),
                figures=("*",),
                command="make reproduce",
            ),
        ),
    ),
)
"""The report, in its order."""


SAYS = (
    Says(
        rows=("SFT-half", "SFT-*-half"),
        text="random 50 %, in-context 30 %, SFT 15 %: one line of results seen",
        hand=SECOND_HAND,
    ),
    Says(
        rows=("SFT-*-order", "SFT-*-sampled"),
        text='"substantially smaller optimality gaps than in-context-only and random baselines"',
        hand=WORDS,
    ),
    Says(
        rows=("SFT-horizon-*", "SFT-cue-accuracy", "SFT-hidden", "SFT-models", "SFT-ambiguous"),
        text='"especially large gains in longer-horizon, partially observed, and model-ambiguous environments"',
        hand=WORDS,
    ),
    Says(
        rows=("SFT-pretraining",),
        text='pretrained models are fine-tuned "directly from offline, oracle-labeled trajectories"',
        hand=WORDS,
    ),
    Says(rows=("SFT-imitation",), text='"flexible imitation of policies"', hand=WORDS),
    Says(
        rows=("RMFT-regret", "RMFT-training"),
        text="fine-tuning on low-regret trajectories improves transformers with numerical input and output",
        hand=ABSTRACT,
    ),
    Says(
        rows=("RMFT-suffix", "RMFT-gives-up", "RMFT-tries"),
        text="these measures, on this task (K=5, gap 0.2, T=100); no numbers were found",
        hand=SECOND_HAND,
    ),
    Says(rows=("RMFT-longer",), text="generalises over horizons", hand=ABSTRACT),
    Says(rows=("RMFT-elsewhere",), text="generalises over action spaces and reward processes", hand=ABSTRACT),
    Says(
        rows=("RMFT-drift*",),
        text="non-stationary bandits are among its tasks; no numbers were found",
        hand=SECOND_HAND,
    ),
    Says(
        rows=("RMFT-online", "RMFT-attacked"),
        text='"can act as a no-regret learner in a simplified setting" (arXiv version)',
        hand=WORDS,
    ),
    Says(
        rows=("RMFT-simplex*", "RMFT-ball*"),
        text="full-information online learning is among its tasks; no numbers were found",
        hand=SECOND_HAND,
    ),
    Says(rows=("L3", "L7"), text="eqs. 4 and 5, as replication notes give them", hand=SECOND_HAND),
    Says(rows=("L5", "L5-*"), text="eq. 6, as replication notes give it", hand=SECOND_HAND),
    Says(
        rows=("L6b", "L7b"),
        text="a suboptimality bound that separates estimation error from training-length bias; exact form not known",
        hand=ABSTRACT,
    ),
)
"""What the papers say of rows; of all others, nothing that is known."""
