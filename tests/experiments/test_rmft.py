"""The regret-minimisation study at toy size, its claims and its figures."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.rmft import __main__ as rmft_study
from experiments.rmft import ablations, comparison, decision_processes, distributions, drift, primary, training
from experiments.rmft import online as rmft_online
from experiments.rmft.claims import claims
from experiments.rmft.comparison import evaluate_learner, evaluator, worlds
from experiments.rmft.config import PRESETS
from figures import rmft as figure
from jaxdm import trainer
from jaxdm.analysis import exploration as analysis
from jaxdm.analysis import storage
from jaxdm.analysis.claims import read_claims
from jaxdm.analysis.storage import named
from jaxdm.envs import families, online
from jaxdm.learners import bandit as bandit_learners
from jaxdm.learners import online as learners
from jaxdm.models.transformer import network
from jaxdm.rmft import distillation, games
from jaxdm.tokens import TOKEN_SCALE

TOY = PRESETS["toy"]


COMMAND = "python -m experiments.rmft toy"


def shared(config, folder):
    return training.setup(config.seed, config.seeds, folder, config)


def test_a_toy_run_is_stored_whole(tmp_path):
    path = rmft_study.main(dataclasses.replace(TOY, parts=("bandit",), results=tmp_path), COMMAND)
    metrics = storage.read_result(path).metrics
    regret = metrics["bandit_regret"]
    assert regret.dims == ("agent", "distribution", "seed", "round")
    players = ["UCB", "KL-UCB", "Thompson", "epsilon-greedy", "SW-UCB", "D-UCB", "Exp3", "best classical"]
    networks = ["base", "random weights", "RMFT", "RMFT from random weights", "base, greedy", "RMFT, greedy"]
    assert regret["agent"].values.tolist() == networks + players
    assert regret["distribution"].values.tolist() == list(distributions.DISTRIBUTIONS)
    assert regret["round"].values.tolist() == list(range(1, TOY.length + 1))
    assert np.all(np.diff(regret.values, axis=-1) >= -1e-5)
    assert metrics["bandit_training_regret"].sel(agent="RMFT").shape == (TOY.seeds, TOY.bandit.rounds)
    rows = read_claims(path / "claims.json")
    assert {"RMFT-regret", "RMFT-suffix", "RMFT-tries", "RMFT-gives-up"} <= {row.id for row in rows}
    assert {row.rank for row in rows} == {"preview"}
    best, tuned = (regret.sel(agent=agent).mean(("seed", "round")) for agent in ("best classical", players[:-1]))
    assert np.all(best >= tuned.min("agent") - 1e-6)
    failure = metrics["bandit_suffix_failure"]
    assert np.all(np.diff(failure.values, axis=-1) >= 0)  # what never comes later never comes even later
    assert {row.command for row in rows} == {COMMAND}
    drawn = figure.draw(storage.read_results(tmp_path, "rmft"))
    assert [item.name for item in drawn] == ["rmft_training", "rmft_regret", "rmft_exploration", "rmft_failures"]


def test_no_random_stream_meets_another(tmp_path, monkeypatch):
    """Initial weights once shared their keys with training: `split(key, n)[i] == fold_in(key, i)`."""
    seeds = 5
    key = jax.random.key(0)
    assert jnp.all(jax.random.split(key, seeds)[2] == jax.random.fold_in(key, 2))
    setup = training.setup(0, seeds, tmp_path, "streams")
    used = {}
    monkeypatch.setattr(training, "_fit", lambda shared, stage, maker, state, data, steps: keep(used, stage, state))
    game = rmft_online.loss_game("ball", 3, ("uniform",))
    net = network(TOY.online_network, game.features, game.outputs)
    weights = {"w": jnp.zeros((seeds, 1))}
    for part in ("simplex", "ball"):
        drawing = net._replace(init=lambda key: key)
        used[part, "weights"] = training.initial_weights(setup, part, drawing)
        training.distil(setup, part, {"RMFT": (TOY.ball, weights)}, game, net)
        for stage in ("SFT", "more SFT"):
            training.train(setup, part, stage, lambda params, key, data: jnp.zeros(()), weights, 0.1, 2)
    for seed in (0, 1):
        where = comparison.worlds(seed, seeds, 4)
        used |= {(seed, name): keys for name, keys in where._asdict().items()}
    found = [np.asarray(jax.random.key_data(keys)).reshape(-1, 2) for keys in used.values()]
    flat = np.concatenate(found)
    assert len(used) == 12
    assert len(np.unique(flat, axis=0)) == len(flat)


def keep(used, stage, state):
    used[stage] = state.key
    return trainer.Fit(state=state, losses=np.zeros((state.key.shape[0], 1)), seconds=0.0)


def test_an_attack_starts_from_drawn_sequences_and_only_gains(tmp_path):
    """Arms that do not count are never best, and the regret of T rounds on losses in [0, 1] is at most T."""
    length = TOY.online_length
    game = rmft_online.loss_game("simplex", length, ("uniform",))
    net = network(TOY.online_network, game.features, game.outputs)
    weights = {"one": training.initial_weights(shared(TOY, tmp_path), "simplex", net)}
    keys = jax.random.split(jax.random.key(5), TOY.attacks)
    found = [rmft_online.attacked(keys, "simplex", length, steps, net, weights) for steps in (0, 10)]
    assert found[0].regret.shape == (1, TOY.seeds)
    assert found[0].losses.shape == (1, TOY.seeds, TOY.attacks, length, 5)
    assert np.all(found[1].regret > found[0].regret + 0.01)
    assert np.all((found[0].regret > 0) & (found[1].regret < length))
    rate = jax.tree.map(lambda x: x[None], learners.hedge_rate(3, length))
    classical = rmft_online.attacked(keys, "simplex", length, 10, None, {"": rate}).regret
    assert np.all(classical < rmft_online.guarantee("simplex", length))


def test_a_bank_gives_its_sequences_to_the_coordinates_that_count():
    """Half of the instances have a row of the bank, its first three columns at the places that are available."""
    length = 4
    game = games.with_bank(rmft_online.loss_game("simplex", length, ("uniform",)), 3, 0.5)
    bank = np.ones((2, length, 5))
    bank[:, :, :3] = np.arange(3) + 10 * np.arange(2)[:, None, None]
    found = jax.jit(jax.vmap(game.instance, (0, None)))(jax.random.split(jax.random.key(0), 400), jnp.asarray(bank))
    given = np.asarray(found.is_given)
    assert abs(given.mean() - 0.5) < 0.125
    rows = np.asarray(found.given)[given]
    counted = np.sort(rows[np.asarray(found.available)[given][:, None, :].repeat(length, 1)].reshape(-1, length, 3))
    assert np.all(np.isin(counted[:, 0, 0], (0, 10)))
    np.testing.assert_array_equal(counted, np.broadcast_to(counted[:, :1, :1] + np.arange(3), counted.shape))
    with pytest.raises(ValueError, match="share: 2"):
        games.with_bank(game, 3, 2.0)


def test_results_have_the_same_bits_twice_and_with_any_number_of_workers(tmp_path):
    """Parts have random streams and compiled programs of their own, so that it does not matter what runs beside."""
    runs = []
    for workers in (1, 2):
        config = dataclasses.replace(TOY, parts=("ball", "selection"), workers=workers, results=tmp_path / str(workers))
        runs.append(storage.read_result(rmft_study.main(config, COMMAND)).metrics)
    assert runs[0].keys() == runs[1].keys()
    for name, value in runs[0].items():
        if not name.endswith("seconds"):
            np.testing.assert_array_equal(value, runs[1][name], err_msg=name)


def test_decision_processes_are_evaluated_on_the_scale_of_the_oracle_and_uniform_play(tmp_path):
    found = decision_processes.study(dataclasses.replace(TOY, results=tmp_path, runs=256), "mdp")
    gap = found["mdp_gap"]
    assert gap["agent"].values.tolist() == list(decision_processes.METHODS)
    np.testing.assert_allclose(gap.sel(agent="round 0"), 1, atol=0.5)  # random weights play almost uniformly
    curves = found["mdp_training_regret"]
    for method in ("RMFT from scratch", "RMFT after SFT"):
        assert curves.sel(agent=method).shape == (TOY.seeds, TOY.decision_process.rounds)
    assert np.all(gap.values > 0)


SEEDS, ROUNDS = np.arange(3), np.arange(1, 17)


def synthetic() -> dict:
    """Results of every part, in which the fine-tuned network is best everywhere."""
    rng = np.random.default_rng(0)

    def noise(*shape):
        return 1 + 0.01 * rng.random(shape)

    def curves(levels, distributions):
        level = np.asarray(list(levels.values()))[:, None, None, None]
        values = level * noise(len(levels), len(distributions), len(SEEDS), 1) * ROUNDS**0.5
        return named(values, agent=list(levels), distribution=distributions, seed=SEEDS, round=ROUNDS)

    def trained(*methods):
        values = noise(len(methods), len(SEEDS), 12)
        return named(values, agent=methods, seed=SEEDS, training_round=np.arange(1, 13))

    levels = {"base": 9, "random weights": 12, "RMFT": 2, "RMFT from random weights": 3, "REINFORCE": 3, "PPO": 3}
    levels |= {"distilled UCB": 4, "distilled Thompson": 4, "optimal-arm labels": 5, "Thompson": 3, "best classical": 2}
    laws = list(distributions.DISTRIBUTIONS)
    found = {}
    for horizon, names in (("", laws), ("long_", laws), ("gaussian_", ["Gaussian, deviation 0.5"])):
        regret = curves(levels, names)
        for name in ("regret", "suffix_failure", "min_fraction", "optimal_play"):
            found[f"bandit_{horizon}{name}"] = long(regret) if horizon == "long_" else regret
        found[f"bandit_{horizon}suffix_failure"] = found[f"bandit_{horizon}suffix_failure"] / 1000
        found[f"bandit_{horizon}min_fraction"] = 1 / found[f"bandit_{horizon}min_fraction"]
    rates = {"epsilon": [0.0, 1.0], "distribution": laws, "seed": SEEDS}
    for name in ("suffix_failure", "min_fraction"):
        found[f"bandit_epsilon_{name}"] = named(noise(2, len(laws), len(SEEDS)), **rates)
    found |= {"bandit_training_regret": trained("RMFT", "REINFORCE", "PPO", "RMFT from random weights")}
    found |= {"bandit_seconds": 1.0, "bandit_train_length": 8}
    shares = np.asarray([0.1, 0.3, 0.6, 0.9])
    falls = np.where(shares[None] < 1 / np.asarray([2, 5])[:, None], 1.0, 0.3)[..., None] * noise(2, 4, len(SEEDS))
    found["selection_regret"] = named(falls, arms=[2, 5], share=shares, seed=SEEDS)
    found["selection_default"] = named([0.6, 0.3], arms=[2, 5])
    drifting = ["round 0", "RMFT", "UCB", "Thompson", "SW-UCB", "best classical"]
    levels = dict(zip(drifting, [9, 2, 5, 4, 3, 2], strict=True))
    dynamic = curves(levels, drift.DISTRIBUTIONS)
    waiting = dynamic.isel(distribution=1, round=-1, drop=True)
    found |= {"drift_regret": dynamic, "drift_first_play": waiting, "drift_settled": waiting}
    found |= {
        "drift_optimal_play": dynamic.isel(distribution=1, drop=True) / 40,
        "drift_training_regret": trained("RMFT"),
    }
    for decisions, learner in rmft_online.CLASSICAL.items():
        suite = rmft_online.evaluation_suite(decisions).names
        levels = {"round 0": 9, "RMFT": 2, "RMFT against attacks": 2, "RMFT, squared regret": 2, "follow the leader": 3}
        regret = curves(levels | {learner: 2}, suite)
        final = regret.isel(round=-1, drop=True)
        part = {
            "regret": regret,
            "long_regret": long(regret),
            "trained": named([name in rmft_online.TRAINED[decisions] for name in suite], distribution=suite),
            "attacked_regret": xr.concat([final.isel(distribution=0, drop=True)] * 3, "horizon").assign_coords(
                horizon=[4, 8, 16]
            ),
            "guarantee": 2.0,
            "training_regret": trained("RMFT"),
        }
        found |= {f"{decisions}_{name}": value for name, value in part.items()}
    for kind in ("mdp", "pomdp"):
        gaps = np.asarray([1, 0.5, 0.4, 0.2, 0.3])[:, None] * noise(5, len(SEEDS))
        found[f"{kind}_gap"] = named(gaps, agent=decision_processes.METHODS, seed=SEEDS)
        found[f"{kind}_training_regret"] = trained("RMFT from scratch", "RMFT after SFT")
    variants = list(ablations.variants(TOY.ablated))
    final = np.where(np.asarray(variants) == "default", 1.0, 3.0)[:, None] * noise(len(variants), len(SEEDS))
    found |= {"ablation_regret": named(final, variant=variants, seed=SEEDS)}
    return found | {"ablation_initial_regret": named(noise(len(SEEDS)), seed=SEEDS), "ablation_identical": True}


def long(regret):
    """The same curves on a horizon of four times as many rounds."""
    return regret.isel(round=np.repeat(np.arange(len(ROUNDS)), 4)).assign_coords(
        round=np.arange(1, 4 * len(ROUNDS) + 1)
    )


def test_claims_follow_the_numbers():
    metrics = synthetic()
    rows = claims(metrics)
    assert {row.verdict for row in rows} == {"holds"}
    assert len({row.id for row in rows}) == len(rows)
    assert set(primary.PRIMARY) <= {row.id for row in rows}
    assert {row.rank for row in primary.rows(rows, 3)} == {"preview"}
    counted = {row.id: row.rank for row in primary.rows(rows, 8)}
    assert {id for id, rank in counted.items() if rank == "primary"} == set(primary.PRIMARY)
    metrics["bandit_regret"].loc[{"agent": "RMFT"}] *= 10
    metrics["simplex_long_regret"].loc[{"agent": "RMFT"}] = np.arange(1, 65.0) ** 1.2
    worse = {row.id: row.verdict for row in claims(metrics)}
    assert worse["RMFT-regret"] == worse["RMFT-simplex-longer-exponent"] == "differs"
    assert worse["RMFT-drift"] == "holds"


def test_claims_and_figures_do_not_depend_on_the_order_of_an_axis(tmp_path):
    metrics = synthetic()
    turned = {
        name: value.isel({axis: slice(None, None, -1) for axis in {"agent", "distribution", "seed"} & set(value.dims)})
        for name, value in metrics.items()
        if hasattr(value, "dims")
    }
    for one, other in zip(claims(metrics), claims(metrics | turned), strict=True):
        assert (one.id, one.verdict) == (other.id, other.verdict)
        np.testing.assert_allclose(one.measured, other.measured, rtol=1e-9, atol=1e-12)


def test_figures_show_every_part(tmp_path):
    assert figure.draw([]) == []
    storage.write_result(tmp_path, "rmft", {"seed": 0}, synthetic(), COMMAND)
    drawn = {item.name: item for item in figure.draw(storage.read_results(tmp_path, "rmft"))}
    assert len(drawn) == 10
    assert "linear on nothing; none on" in drawn["rmft_linear"].caption
    levels = {line.get_label(): line.get_ydata() for line in drawn["rmft_training"].figure.axes[0].lines}
    regret = synthetic()["bandit_regret"].sel(agent="base", distribution="training")
    rounds = int(synthetic()["bandit_train_length"])
    np.testing.assert_allclose(np.asarray(levels["round 0"]), float(regret.sel(round=rounds).mean()))
    assert [axes.get_title() for axes in drawn["rmft_selection"].figure.axes] == ["K=2", "K=5"]
    variants = ablations.variants(TOY.ablated)
    assert len(drawn["rmft_ablations"].figure.axes[0].get_yticklabels()) == len(variants)
    assert "the same bits" in drawn["rmft_ablations"].caption


def test_distributions_of_bandits_have_their_arms_and_gaps():
    draw = jax.jit(jax.vmap(lambda key, index: distributions.draw_drifting(key, index, 8), (0, None)))
    for index, law in enumerate(distributions.DISTRIBUTIONS.values()):
        worlds = draw(jax.random.split(jax.random.key(index), 50), index)
        counts = np.asarray(worlds.available.sum(axis=-1))
        assert set(counts.tolist()) == ({4, 5} if index == 0 else {law.arms})
        assert worlds.mean.shape == (50, 8, distributions.ARMS)
        assert np.all((worlds.mean >= 0) & (worlds.mean <= 1))
        moves = np.abs(np.diff(np.asarray(worlds.mean), axis=1)).max(axis=-1) > 1e-6
        assert np.all(moves == {"switch": np.arange(7) == 3, "walk": True}.get(law.kind, False))
        means = np.sort(np.where(worlds.available[:, None], worlds.mean, -np.inf), axis=-1)
        if law.gap:
            np.testing.assert_allclose(means[..., -1] - means[..., -2], law.gap, rtol=1e-4)


def test_drifting_bandits_change_when_they_should():
    draw = jax.jit(jax.vmap(lambda key, index: drift.draw(key, index, 20, 0.03), (0, None)))
    keys = jax.random.split(jax.random.key(0), 8)
    changed = np.asarray(draw(keys, 1).mean)
    moves = np.abs(np.diff(changed, axis=1)).max(axis=-1)
    assert np.all(moves[:, 9] > 0.7)
    assert np.all(np.delete(moves, 9, axis=1) == 0)
    assert np.all(np.diff(np.asarray(draw(keys, 3).mean), axis=1).any(axis=-1))


def test_what_is_measured_of_a_run_is_what_its_actions_say():
    """In compiled play the same numbers as `jaxdm.analysis.exploration` finds in actions and rewards."""
    length, arms = 12, 4
    game = games.bandit_game(lambda key: families.bandit.uniform_means(key, arms=arms), arms, length)
    agent = bandit_learners.epsilon_greedy(arms)
    rates = bandit_learners.EpsilonGreedyParams(floor=0.5, scale=0.0)

    @jax.jit
    @jax.vmap
    def run(key):
        played = game.play(key, game.instance(key, ()), agent, rates)
        return played, comparison.explored(played)

    played, found = run(jax.random.split(jax.random.key(0), 40))
    arm, best = np.asarray(played.label).argmax(axis=-1), np.asarray(played.best).argmax(axis=-1)[:, 0]
    for start in (0, 5, length - 1):
        np.testing.assert_array_equal(found["suffix_failure"][:, start], analysis.suffix_failure(arm, best, start))
    np.testing.assert_allclose(found["min_fraction"], analysis.min_fraction(arm, arms), rtol=1e-6)
    rewards = np.asarray(played.tokens[:, 1:, 2 * arms : 3 * arms]).sum(axis=-1) / TOKEN_SCALE / 2 + 0.5
    rewards = np.concatenate([rewards, np.zeros((40, 1))], axis=1)  # the last reward decides nothing
    np.testing.assert_allclose(found["greedy_fraction"], analysis.greedy_fraction(arm, rewards, arms), rtol=1e-5)


def test_exploration_is_measured_among_the_available():
    """Two of three arms are available, and one of them is never played: K MinFrac is zero, and 1 once both are."""
    label = jnp.asarray([[1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]], jnp.float32)
    played = games.Rollout(
        tokens=jnp.zeros((4, 10)),
        label=label,
        best=label[::-1],
        available=jnp.asarray([[True, False, True]] * 4),
        mask=jnp.ones(4, bool),
        cumulative_regret=jnp.zeros(4),
        reward=jnp.zeros(()),
    )
    np.testing.assert_allclose(comparison.explored(played)["min_fraction"], [0, 0, 2 / 3, 1], rtol=1e-6)


def test_waiting_counts_rounds_until_it_happens_and_all_where_it_never_does():
    for reached, rounds in (([0, 0, 0, 1, 0], 3), ([1, 0, 0, 0, 0], 0), ([0] * 5, 5)):
        assert float(drift.rounds_until(jnp.asarray(reached, bool))) == rounds


def test_a_learner_among_available_arms_plays_as_if_there_were_no_others():
    available = jnp.asarray([True, False, True, True, False])
    plan = jax.random.uniform(jax.random.key(0), (6, 5))
    whole = jnp.where(available, plan, 1.0)
    rate = learners.rate(2.0)
    agent = rmft_online.among_available(learners.hedge(5), "simplex")
    found = online.play(jax.random.key(1), whole, agent, (rate, available))
    alone = online.play(jax.random.key(1), plan[:, np.asarray(available)], learners.hedge(3), rate)
    np.testing.assert_allclose(found[:, np.asarray(available)], alone, rtol=1e-5)
    assert np.all(found[:, ~np.asarray(available)] == 0)


def test_rates_are_tuned_in_other_episodes_for_each_distribution():
    """The rate of least regret on the tuning stream is shown on the evaluation stream, distribution by distribution."""
    game, count = rmft_online.suite_game("simplex", 6), 4
    where = worlds(TOY.seed, TOY.seeds, 8)
    rates = [learners.rate(scale) for scale in (0.01, 50.0)]
    agent, agent_params = rmft_online.classical("simplex"), rmft_online.with_available
    found, tuned = evaluate_learner(where, game, agent, rates, count, agent_params, fixed=(rates[1],))
    shown = found["regret"]
    assert shown.shape[0] == 2
    settings = jax.tree.map(lambda *x: jnp.broadcast_to(jnp.stack(x)[:, None], (2, TOY.seeds)), *rates)
    evaluate = evaluator(game, agent, agent_params, count)
    tuning, evaluated = (evaluate(keys, settings)["regret"] for keys in (where.tuning, where.evaluation))
    for q in range(count):
        best = int(np.argmin(tuning[:, q, :, -1].mean(axis=-1)))
        np.testing.assert_allclose(tuned[q], tuning[best, q, :, -1].mean())
        # Up to rounding: the mean over episodes is taken piece by piece.
        np.testing.assert_allclose(shown[:, q], evaluated[[best, 1], q], rtol=1e-5, atol=1e-6)
    assert np.any(tuning != evaluated)


def test_every_variant_is_a_valid_configuration():
    for preset in PRESETS.values():
        for config in (
            preset.bandit,
            preset.reinforce,
            preset.ppo,
            preset.drift,
            preset.selection,
            preset.simplex,
            preset.ball,
            preset.decision_process,
        ):
            distillation.validate(config)
        for config in ablations.variants(preset.ablated).values():
            distillation.validate(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "seeds: 1; expected an integer, at least 2"),
        ({"parts": ("poker",)}, "parts: 'poker'; expected one of"),
        ({"parts": ()}, r"parts: \(\); expected at least 1"),
        ({"ball_others": ("huge",)}, "ball_others: 'huge'; expected one of"),
        # of parts that the toy preset does not run
        ({"side": 2}, "side: 2; expected an integer, at least 3"),
        ({"sft_steps": (2, 0)}, "sft_steps: 0; expected an integer, at least 1"),
        ({"drift": dataclasses.replace(TOY.drift, keep=5)}, r"drift\.keep: 5; expected at most rollouts = 4"),
        ({"drift_chance": 1.5}, r"drift_chance: 1\.5; expected a number in \[0, 1\]"),
        (
            {"ablated_network": dataclasses.replace(TOY.ablated_network, width=0)},
            r"ablated_network\.width: 0; expected",
        ),
        ({"selection_arms": (2, 1)}, "selection_arms: 1; expected an integer, at least 2"),
        ({"entropies": (0.0,)}, r"entropies: \(0\.0,\); expected as many as keeps"),
    ],
)
def test_bad_configurations_are_refused_before_work(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        rmft_study.main(dataclasses.replace(TOY, results=tmp_path, **change), COMMAND)
