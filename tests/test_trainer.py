"""Training: exact resume after a kill at any point, checkpoints that are whole or refused, and a loss that falls."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdm import trainer

STEPS, EVERY, SEEDS = 30, 5, 3


def loss(params, key, data):
    return jnp.mean((params["w"][None] - data - jax.random.normal(key, (8, 4))) ** 2)


TRAINER = trainer.make(loss, trainer.adamw(0.1, STEPS))


DATA = jnp.arange(4.0)[None]


def start(maker: trainer.Trainer = TRAINER):
    keys = jax.random.split(jax.random.key(0), SEEDS)
    return jax.vmap(maker.init)(keys, {"w": jnp.zeros((SEEDS, 4))})


def fit(steps: int = STEPS, **options):
    return trainer.fit(TRAINER, start(), DATA, steps, every=EVERY, **options)


@pytest.fixture(scope="module")
def unbroken():
    return fit()


def same_bits(one: trainer.Fit, two: trainer.Fit) -> bool:
    equal = jax.tree.map(lambda x, y: bool(jnp.all(x == y)), one.state, two.state)
    return jax.tree.all(equal) and np.array_equal(one.losses, two.losses)


def test_training_approaches_the_minimum(unbroken):
    assert unbroken.losses.shape == (SEEDS, STEPS)
    assert np.all(unbroken.losses[:, -5:].mean(axis=1) < unbroken.losses[:, :5].mean(axis=1))
    assert len({float(x) for x in unbroken.losses[:, 0]}) == SEEDS


def test_a_resumed_run_has_the_bits_of_an_unbroken_one(tmp_path, unbroken):
    fit(2 * EVERY, folder=tmp_path, identity="run")
    seen = []
    resumed = fit(folder=tmp_path, identity="run", progress=lambda done, _: seen.append(done))
    assert seen[0] == 3 * EVERY
    assert same_bits(resumed, unbroken)
    assert resumed.seconds > 0


@pytest.mark.parametrize(("spacing", "kept"), [(0.0, range(EVERY, STEPS + 1, EVERY)), (1e9, [STEPS])])
def test_checkpoints_keep_their_distance_and_the_last_is_written(tmp_path, spacing, kept):
    seen = set()

    def newest():
        return {int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()}

    fit(folder=tmp_path, identity="run", spacing=spacing, progress=lambda done, _: seen.update(newest()))
    assert sorted(seen) == list(kept)


def test_a_finished_run_is_not_run_again(tmp_path, unbroken):
    fit(folder=tmp_path, identity="run")
    seen = []
    again = fit(folder=tmp_path, identity="run", progress=lambda done, _: seen.append(done))
    assert not seen
    assert same_bits(again, unbroken)


def test_the_callers_state_survives():
    state = start()
    trainer.fit(TRAINER, state, DATA, 2, every=1)
    assert float(state.params["w"].sum()) == 0


RUN = """
    import sys
    from pathlib import Path
    import jax
    jax.config.update("jax_legacy_prng_key", "error")
    from tests.test_trainer import fit
    fit(folder=Path(sys.argv[1]), identity="run", spacing=0, progress=lambda done, _: print(done, flush=True))
"""


REFUSED = """
    import sys
    from pathlib import Path
    import jax
    import jax.numpy as jnp
    from jaxdm import trainer
    from tests.test_trainer import SEEDS, STEPS, EVERY, TRAINER

    keys, width = jax.random.split(jax.random.key(0), SEEDS), int(sys.argv[2])
    state = jax.vmap(TRAINER.init)(keys, {"w": jnp.zeros((SEEDS, width))})
    try:
        data = jnp.zeros((1, width))
        trainer.fit(TRAINER, state, data, STEPS, every=EVERY, folder=Path(sys.argv[1]), identity="run")
    except ValueError as error:
        print(error)
"""


def child(script: str, *arguments: object) -> subprocess.Popen:
    """A script of this module in a process of its own."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(here.parent)}
    return subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, env=environment, text=True)


def refusal(folder: Path, width: int) -> str:
    """What a run of this width says of the folder. Reads that fail leave orbax with threads that complain for long."""
    return child(REFUSED, folder, width).communicate()[0]


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, unbroken, delay):
    run = child(RUN, tmp_path)
    assert run.stdout is not None
    run.stdout.readline()  # after the first checkpoint; then in the midst of a chunk, or of writing one
    time.sleep(delay)
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    assert same_bits(fit(folder=tmp_path, identity="run"), unbroken)


def test_a_foreign_checkpoint_is_refused(tmp_path):
    fit(EVERY, folder=tmp_path, identity={"rate": 0.1})
    with pytest.raises(ValueError, match=r"^folder: .* holds a run of \{'rate': 0.1\}; expected \{'rate': 0.2\}"):
        fit(folder=tmp_path, identity={"rate": 0.2})


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    fit(EVERY, folder=tmp_path, identity="run")
    files = [path for path in (tmp_path / str(EVERY) / "tree").rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[:10]) if damage == "truncate" else path.unlink()
    assert re.match(r"(?s)folder: .* step 5 is damaged .*; delete it to start anew", refusal(tmp_path, 4))


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    fit(EVERY, folder=tmp_path, identity="run")
    assert refusal(tmp_path, 5).startswith("folder: ")


def test_the_schedule_is_optaxs_and_its_length_is_data(unbroken):
    """A run that is to take twice as long, by the loop of another."""
    length = 2 * STEPS
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.1, length // 20, length + 1, 0.01)
    plain = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-4))
    ours = trainer.make(loss, trainer.adamw(0.1, length))._replace(run=TRAINER.run)
    runs = [trainer.fit(one, start(one), DATA, STEPS, every=EVERY) for one in (ours, trainer.make(loss, plain))]
    np.testing.assert_allclose(runs[0].losses, runs[1].losses, rtol=1e-5)
    np.testing.assert_allclose(runs[0].state.params["w"], runs[1].state.params["w"], rtol=1e-5)
    assert not np.allclose(runs[0].losses, unbroken.losses, rtol=1e-3)


@pytest.mark.parametrize("reset", [False, True])
def test_a_rate_that_is_held_and_falls_to_zero_gives_the_updates_written_out(reset):
    """Rounds of two steps: `x <- x - r_t (Adam(clipped gradient) + decay x)`, moments kept or reset each round."""
    rounds, hold, rate, decay = 5, 2, 0.1, 0.3
    optimiser = trainer.adamw(rate, rounds, warmup=0.0, floor=0.0, decay=decay, hold=hold)
    plain = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
    ours: Any = {"w": jnp.array([1.0, -2.0, 3.0])}
    old = ours
    state, moments = optimiser.init(ours), plain.init(old)
    for t in range(rounds):
        state = trainer.reset_moments(state, jnp.bool_(reset))
        moments = plain.init(old) if reset else moments
        falling = rate * (0.5 + 0.5 * np.cos(np.pi * t / rounds))
        for i in range(hold):
            gradient = jax.random.normal(jax.random.key(hold * t + i), (3,))
            updates, state = optimiser.update({"w": gradient}, state, ours)
            ours = optax.apply_updates(ours, updates)
            direction, moments = plain.update({"w": gradient}, moments)
            old = jax.tree.map(lambda x, change, r=falling: x - r * (change + decay * x), old, direction)
    np.testing.assert_allclose(ours["w"], old["w"], rtol=1e-6)


def test_all_that_an_optimiser_is_told_is_data():
    """A step compiled for one optimiser serves another, which differs in every argument."""
    one = trainer.adamw(0.1, 10)
    other = trainer.adamw(0.3, 7, warmup=0.0, floor=0.0, decay=0.5, hold=3)
    params, gradient = jnp.ones(3), jnp.array([0.1, 0.2, -0.3])
    traces = []

    @jax.jit
    def step(state: Any) -> Any:
        traces.append(1)
        return one.update(gradient, state, params)

    for optimiser in (one, other):
        state = plain = optimiser.init(params)
        for _ in range(8):
            updates, state = step(state)
            expected, plain = optimiser.update(gradient, plain, params)
            np.testing.assert_allclose(np.asarray(updates), np.asarray(expected), rtol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"rate": 0.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"steps": 0}, "steps"),
        ({"hold": 0}, "hold"),
        ({"warmup": 1.5}, "warmup"),
        ({"floor": -0.1}, "floor"),
        ({"decay": -1.0}, "decay"),
    ],
)
def test_bad_schedules_name_the_field(options, field):
    with pytest.raises(ValueError, match=f"^{field}: .*expected"):
        trainer.adamw(**{"rate": 0.1, "steps": 5} | options)
