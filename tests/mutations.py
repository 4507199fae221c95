"""Would the tests and the theorems notice? Faults put into the library by hand, one at a time, and who catches them.

    python tests/mutations.py                           # all of them: about 20 minutes on two cores
    python tests/mutations.py attention certificate     # those whose description or file has one of these words
    python tests/mutations.py --write tests/mutations.md

Each fault is a piece of text in one file, replaced by another in a copy of the tree, against which the named theorems
(`python -m theory ID`) or tests run until one fails. One is enough: a fault is caught, or it survives. Selections are
narrow, as what is asked is whether anyone notices, not how many. It is no part of the suite, since pytest does not
collect this file; run it after changes to what theorems rely on. The last table written is `tests/mutations.md`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


PARTS = ("jaxdm", "theory", "experiments", "figures", "tests", "pyproject.toml", "README.md")
"""What is copied."""


class Fault(NamedTuple):
    """One fault, and who should notice: ids of theorems, and arguments of pytest, separated by spaces."""

    file: str
    what: str
    old: str
    new: str
    watched_by: tuple[str, ...]


class Outcome(NamedTuple):
    """Who noticed a fault, nobody if empty, and how long it took."""

    caught_by: str
    seconds: float


ATTENTION, CONSTRUCTIONS = "jaxdm/models/attention.py", "jaxdm/models/constructions.py"
ONLINE, LEARNERS, EXP3 = "jaxdm/envs/online.py", "jaxdm/learners/online.py", "jaxdm/learners/exp3.py"
BANDIT, REGRET, ATTACK = "jaxdm/learners/bandit.py", "jaxdm/oracles/regret.py", "jaxdm/oracles/attack.py"
BELLMAN, PLANNING, LINEAR = "jaxdm/oracles/mdp/bellman.py", "jaxdm/oracles/mdp/planning.py", "jaxdm/envs/linear_mdp.py"
BACKUP, BELIEF, TREE = (
    "jaxdm/oracles/history_backup.py",
    "jaxdm/oracles/pomdp/belief.py",
    "jaxdm/oracles/pomdp/history_tree.py",
)
DISTILLATION, GREEDY = "jaxdm/rmft/distillation.py", "theory/linear_attention/greedy_play.py"
RMFT_TESTS, MDP_TESTS = "tests/rmft/test_distillation.py", "tests/oracles/test_mdp.py"


FAULTS = (
    Fault(
        ATTENTION,
        "linear attention divides by the tokens and not by the pairs",
        "w_TS = jnp.where(causal_TS, z_TS, 0) / jnp.maximum(t_T1, 1)",
        "w_TS = jnp.where(causal_TS, z_TS, 0) / (t_T1 + 1)",
        ("L2",),
    ),
    Fault(
        ATTENTION,
        "linear attention has the wrong sign",
        "w_TS = jnp.where(causal_TS, z_TS, 0)",
        "w_TS = jnp.where(causal_TS, -z_TS, 0)",
        ("L2",),
    ),
    Fault(
        ATTENTION,
        "softmax scores are not divided by sqrt K",
        'scale = 1.0 if kind == "linear" else 1 / math.sqrt(q_TK.shape[-1])',
        "scale = 1.0",
        ("L8c",),
    ),
    Fault(
        ATTENTION,
        "a token does not attend to itself",
        "causal_TS = distance_TS >= 0",
        "causal_TS = distance_TS > 0",
        ("L8c",),
    ),
    Fault(
        ATTENTION,
        "a token attends to the one after it",
        "causal_TS = distance_TS >= 0",
        "causal_TS = distance_TS >= -1",
        ("N1", "tests/models/test_models.py"),
    ),
    Fault(
        ATTENTION,
        "blocks of long prompts begin one token late",
        "first + start,\n",
        "first + start + 1,\n",
        ("L2",),
    ),
    Fault(
        CONSTRUCTIONS,
        "the score matrix is transposed",
        '"query": key_query.T',
        '"query": key_query',
        ("L2",),
    ),
    Fault(
        CONSTRUCTIONS,
        "the preconditioner is transposed",
        "jnp.pad(preconditioner.T,",
        "jnp.pad(preconditioner,",
        ("L2",),
    ),
    Fault(
        CONSTRUCTIONS,
        "the query carries the label 1",
        "jnp.append(query, 0)",
        "jnp.append(query, 1)",
        ("L2",),
    ),
    Fault(
        ONLINE,
        "the best point of a ball forgets the radius",
        "return -size * loss / jnp.sqrt",
        "return -loss / jnp.sqrt",
        ("N2",),
    ),
    Fault(
        ONLINE,
        "projection onto another ball",
        "projections.projection_l2_ball",
        "projections.projection_l1_ball",
        ("N1",),
    ),
    Fault(
        ONLINE,
        "the best arm is the worst",
        "jax.nn.one_hot(jnp.argmin(loss)",
        "jax.nn.one_hot(jnp.argmax(loss)",
        ("N10",),
    ),
    Fault(
        ONLINE,
        "the orthogonal adversary adds where it should subtract",
        "residual = loss - total *",
        "residual = loss + total *",
        ("tests/learners/test_online.py -k orthogonal", "tests/learners/test_online.py"),
    ),
    Fault(
        LEARNERS,
        "FTRL follows the leader it should flee",
        "decision_set.project(-eta * total, size)",
        "decision_set.project(eta * total, size)",
        ("N2",),
    ),
    Fault(
        LEARNERS,
        "Hedge's rate lacks its factor 8",
        "math.sqrt(8 * math.log(arms) / length)",
        "math.sqrt(math.log(arms) / length)",
        ("O1",),
    ),
    Fault(
        LEARNERS,
        "rates count rounds from zero",
        "(memory.time + 1).astype",
        "memory.time.astype",
        ("O1",),
    ),
    Fault(
        LEARNERS,
        "a sum of losses counts each twice",
        "    return point + loss\n",
        "    return point + 2 * loss\n",
        ("N2",),
    ),
    Fault(
        REGRET,
        "regret adds the comparator",
        "jnp.sum(losses * decisions, axis=-1)) - best_so_far",
        "jnp.sum(losses * decisions, axis=-1)) + best_so_far",
        ("N2",),
    ),
    Fault(
        REGRET,
        "the comparator does not know the last loss",
        "totals = jnp.cumsum(losses, axis=0)\n",
        "totals = jnp.cumsum(losses, axis=0) - losses\n",
        ("N2",),
    ),
    Fault(
        REGRET,
        "pseudo-regret against the mean arm",
        "jnp.max(means) - _paid",
        "jnp.mean(means) - _paid",
        ("tests/oracles/test_regret.py",),
    ),
    Fault(
        REGRET,
        "swap regret takes the best row and not the best column",
        "return jnp.sum(jnp.max(_exchange(losses, decisions), axis=-1), axis=-1)",
        "return jnp.sum(jnp.max(_exchange(losses, decisions), axis=-2), axis=-1)",
        ("tests/oracles/test_regret.py -k swap",),
    ),
    Fault(
        ATTACK,
        "ascent is descent",
        "adam.update(-gradient",
        "adam.update(gradient",
        ("N2b",),
    ),
    Fault(
        ATTACK,
        "the worst sequence met is kept",
        "better = value > best[1]",
        "better = value < best[1]",
        ("N2b",),
    ),
    Fault(
        EXP3,
        "estimates are not divided by the probability of the arm",
        "/ jnp.where(chosen > 0, memory.probabilities, 1)",
        "/ 1",
        ("O3",),
    ),
    Fault(
        EXP3,
        "weights grow K times too fast",
        "params.exploration * estimate / count",
        "params.exploration * estimate",
        ("O3",),
    ),
    Fault(
        BANDIT,
        "UCB's bonus falls like 1/n",
        "jnp.log(jnp.maximum(jnp.sum(statistics.plays), 1)) / plays)",
        "jnp.log(jnp.maximum(jnp.sum(statistics.plays), 1)) / plays**2)",
        ("O2",),
    ),
    Fault(
        BANDIT,
        "UCB is pessimistic",
        "statistics.total / plays + bonus",
        "statistics.total / plays - bonus",
        ("O2",),
    ),
    Fault(
        PLANNING,
        "planning backs up the mean over actions",
        "return jnp.max(q, axis=0), q\n",
        "return jnp.mean(q, axis=0), q\n",
        ("L1",),
    ),
    Fault(
        PLANNING,
        "planned values are means over actions",
        "value = jnp.concatenate([jnp.max(q, axis=1),",
        "value = jnp.concatenate([jnp.mean(q, axis=1),",
        ("L1",),
    ),
    Fault(
        PLANNING,
        "backward induction runs forward",
        "stages, length=horizon, reverse=True)",
        "stages, length=horizon)",
        ("L1",),
    ),
    Fault(
        BELLMAN,
        "the backup forgets the reward",
        "return mdp.reward + mdp.discount * _ahead(mdp, value)",
        "return mdp.discount * _ahead(mdp, value)",
        ("L1",),
    ),
    Fault(
        BELLMAN,
        "the backup does not discount",
        "return mdp.reward + mdp.discount * _ahead(mdp, value)",
        "return mdp.reward + _ahead(mdp, value)",
        (f"{MDP_TESTS} -k induction", MDP_TESTS),
    ),
    Fault(
        BELLMAN,
        "the discounted certificate forgets 1 - gamma",
        "residual / jnp.maximum(1 - factor, 0)",
        "residual",
        (f"{MDP_TESTS} -k certificate", MDP_TESTS),
    ),
    Fault(
        BELLMAN,
        "a certificate's errors do not travel back",
        "error = own + (1 + slack * kind.eps) * mdp.discount * _ahead(mdp, unsure)",
        "error = own",
        (f"{MDP_TESTS} -k carried_back",),
    ),
    Fault(
        LINEAR,
        "weights of Q* take the values of this step",
        "linear.mu, value[1:]",
        "linear.mu, value[:-1]",
        ("L1",),
    ),
    Fault(
        LINEAR,
        "weights of Q* lack theta",
        "return linear.theta + ahead",
        "return ahead",
        ("L1",),
    ),
    Fault(
        BACKUP,
        "alpha and 1 - alpha are swapped in planning",
        "return attitude * worst + (1 - attitude) * best",
        "return (1 - attitude) * worst + attitude * best",
        ("A1",),
    ),
    Fault(
        BACKUP,
        "models that rule a history out still count as the worst",
        "worst = xp.where(some, xp.min(xp.where(alive, g, xp.inf), axis=0), 0)",
        "worst = xp.where(some, xp.min(g, axis=0), 0)",
        ("A2", "tests/oracles/test_apomdp_exact.py"),
    ),
    Fault(
        BACKUP,
        "the certificate counts one step of rounding",
        "unsure = kappa * xp.abs(ahead) + (1 + kappa) * behind",
        "unsure = kappa * xp.abs(ahead)",
        ("tests/oracles/test_apomdp_exact.py -k carried_back",),
    ),
    Fault(
        BELIEF,
        "belief updates forget the prediction",
        "condition(predict(pomdp, belief, action), pomdp.observation[action, :, observation])",
        "condition(belief, pomdp.observation[action, :, observation])",
        ("tests/oracles/test_pomdp_exact.py -k belief", "tests/oracles/test_pomdp_exact.py"),
    ),
    Fault(
        TREE,
        "a POMDP's value is a mean over actions",
        "future = jnp.max(each, axis=0)",
        "future = jnp.mean(each, axis=0)",
        ("P2", "tests/oracles/test_pomdp_exact.py"),
    ),
    Fault(
        DISTILLATION,
        "the worst rollouts are kept",
        "within = jnp.argsort(score, axis=1)",
        "within = jnp.argsort(-score, axis=1)",
        (f"{RMFT_TESTS} -k kept",),
    ),
    Fault(
        DISTILLATION,
        "ranking by reward prefers the least",
        "jnp.where(hyperparameters.by_reward, -reward, regret)",
        "jnp.where(hyperparameters.by_reward, reward, regret)",
        (f"{RMFT_TESTS} -k same_rollouts",),
    ),
    Fault(
        DISTILLATION,
        "the advantage has the wrong sign",
        "jnp.mean(costs, axis=1, keepdims=True) - costs",
        "costs - jnp.mean(costs, axis=1, keepdims=True)",
        (f"{RMFT_TESTS} -k ahead_of",),
    ),
    Fault(
        DISTILLATION,
        "merged rollouts keep one too many",
        "< shape[0] * keep)",
        "<= shape[0] * keep)",
        (f"{RMFT_TESTS} -k merged",),
    ),
    Fault(
        DISTILLATION,
        "a batch may hold a rollout that was not selected",
        "jnp.where(rank < selected,",
        "jnp.where(rank <= selected,",
        (f"{RMFT_TESTS} -k kept_rollout_is_seen",),
    ),
    Fault(
        "jaxdm/sft/evaluation.py",
        "alpha and 1 - alpha are swapped in the gap of an APOMDP",
        "best - task.attitude * worst - (1 - task.attitude) * luckiest",
        "best - (1 - task.attitude) * worst - task.attitude * luckiest",
        ("tests/sft/test_sft.py -k gap",),
    ),
    Fault(
        "jaxdm/random.py",
        "an outcome of probability zero has a chance",
        "return jnp.where(probabilities > 0, cumulative, -1)",
        "return cumulative",
        ("tests/test_random.py", "tests/envs/test_mdp.py"),
    ),
    Fault(
        "jaxdm/random.py",
        "sampling is off by one outcome",
        "above = thresholds > uniform * jnp.max(thresholds)",
        "above = jnp.roll(thresholds, 1) > uniform * jnp.max(thresholds)",
        ("tests/test_random.py", "tests/envs/test_mdp.py"),
    ),
    Fault(
        GREEDY,
        "errors of greedy play are counted where it begins",
        "return reach @ step[0], reach @ step[1]",
        "return reach, reach @ step[1]",
        ("L6a",),
    ),
    Fault(
        GREEDY,
        "coverage by the policy that picks actions uniformly",
        "jnp.max if optimal else jnp.mean",
        "jnp.mean",
        ("L6b",),
    ),
)


def command(watcher: str, scratch: Path) -> list[str]:
    """What runs a theorem, by its id, or tests."""
    if watcher.startswith("tests/"):
        words = watcher.split(maxsplit=2)
        return [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *words]
    return [sys.executable, "-m", "theory", watcher, "--results", str(scratch)]


def copy_tree(tree: Path) -> None:
    """The part of the repository that tests and theorems need."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / part)


def check_texts() -> None:
    """Check that every fault still finds its place.

    Raises:
        ValueError: the text to replace does not occur exactly once.
    """
    for fault in FAULTS:
        count = (ROOT / fault.file).read_text().count(fault.old)
        if count != 1:
            raise ValueError(f"old: {fault.old!r} occurs {count} times in {fault.file}; expected once")


def try_fault(fault: Fault, tree: Path) -> Outcome:
    """Put the fault into the copy, run its watchers until one fails, and take it out again."""
    path, start = tree / fault.file, time.perf_counter()
    sound = path.read_text()
    path.write_text(sound.replace(fault.old, fault.new))
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        for watcher in fault.watched_by:
            ran = subprocess.run(
                command(watcher, tree / "results"), cwd=tree, env=environment, capture_output=True, check=False
            )
            if ran.returncode:
                return Outcome(caught_by=watcher, seconds=time.perf_counter() - start)
    finally:
        path.write_text(sound)
    return Outcome(caught_by="", seconds=time.perf_counter() - start)


def row(fault: Fault, outcome: Outcome) -> str:
    """A row of the table."""
    found = f"`{outcome.caught_by}`" if outcome.caught_by else "**survived**"
    return f"| `{fault.file}` | {fault.what} | {found} |"


def written(path: Path) -> dict[str, str]:
    """The rows of a table, by what they have of a fault."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.rpartition(" | ")[0]: line for line in lines if line.startswith("| `")}


def main(words: Sequence[str], write: Path | None) -> int:
    """Try the faults that have one of the words, all without any; returns how many survived.

    A table that is there keeps the rows of faults that were not tried.
    """
    chosen = [f for f in FAULTS if not words or any(word in f"{f.file} {f.what}" for word in words)]
    check_texts()
    rows, survived = written(write) if write else {}, 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        for fault in chosen:
            outcome = try_fault(fault, tree)
            survived += not outcome.caught_by
            found = row(fault, outcome)
            rows[found.rpartition(" | ")[0]] = found
            print(f"{found} {outcome.seconds:.0f} s", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} faults were noticed")
    if write:
        names = [row(fault, Outcome(caught_by="", seconds=0)).rpartition(" | ")[0] for fault in FAULTS]
        table = [rows[name] for name in names if name in rows]
        noticed = sum("**survived**" not in line for line in table)
        head = f"Faults put into the library by hand, and who notices: `python tests/mutations.py --write {write}`.\n"
        head += (
            f"{noticed} of {len(table)} were noticed. The last change to this table: {time.strftime('%Y-%m-%d')}.\n\n"
        )
        write.write_text(head + "\n".join(["| file | fault | noticed by |", "|---|---|---|", *table]) + "\n")
    return survived


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    sys.exit(min(main(arguments.words, arguments.write), 1))
