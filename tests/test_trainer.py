"""Training: exact resume after a kill at any point, checkpoints that are whole or refused, and a loss that falls."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
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

    def newest(done: int, _: float) -> None:
        seen.update({reached(tmp_path)} if (tmp_path / trainer.CHECKPOINT).exists() else ())

    fit(folder=tmp_path, identity="run", spacing=spacing, progress=newest)
    assert sorted(seen) == list(kept)
    assert alone(tmp_path)


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


def child(script: str, *arguments: object) -> subprocess.Popen:
    """A script of this module in a process of its own."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(here.parent)}
    return subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, env=environment, text=True)


def reached(folder: Path) -> int:
    """The steps of a checkpoint."""
    return json.loads((folder / trainer.CHECKPOINT).read_text())["steps"]


def alone(folder: Path) -> bool:
    """Whether a folder holds one checkpoint, and nothing else."""
    run = json.loads((folder / trainer.CHECKPOINT).read_text())
    return {path.name for path in folder.iterdir()} == {trainer.CHECKPOINT, run["arrays"]}


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.1])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, unbroken, delay):
    run = child(RUN, tmp_path)
    assert run.stdout is not None
    run.stdout.readline()  # after the first checkpoint; then in the midst of a chunk, or of writing one
    time.sleep(delay)
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    assert reached(tmp_path) % EVERY == 0
    assert same_bits(fit(folder=tmp_path, identity="run"), unbroken)
    assert alone(tmp_path), "what the killed left is swept"


def fit_until(timer: threading.Timer, folder: Path) -> None:
    """A run that is read from its checkpoint when it has ended, again and again, until the timer's signal ends it."""
    timer.start()  # which may itself be where the signal comes
    while True:
        fit(folder=folder, identity="run", spacing=0.0)


def test_a_run_interrupted_at_any_moment_resumes_to_the_same_bits(tmp_path, unbroken):
    """Signals at ten random moments, each of which finds the run in a chunk, in a checkpoint, or between."""
    rng, ends = np.random.default_rng(0), []
    for index, delay in enumerate(rng.uniform(0, 0.1, 10)):
        folder = tmp_path / str(index)
        number = (signal.SIGINT, signal.SIGTERM)[index % 2]
        timer = threading.Timer(delay, os.kill, (os.getpid(), number))
        with trainer.ending_on_signals():
            with pytest.raises(trainer.Interrupted) as caught:
                fit_until(timer, folder)
            timer.join()
        assert caught.value.code == 128 + number
        ends.append(reached(folder) if (folder / trainer.CHECKPOINT).exists() else 0)
        assert same_bits(fit(folder=folder, identity="run"), unbroken), f"interrupted after {delay} s, step {ends[-1]}"
    assert all(end % EVERY == 0 for end in ends)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_its_chunk_and_it_goes_on_from_there(tmp_path, unbroken, number):
    """Every checkpoint but that one would come too late: they are an hour apart."""
    done = []

    def interrupt(steps: int, _: float) -> None:
        done.append(steps)
        if steps == 2 * EVERY:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(trainer.Interrupted) as caught:
        fit(folder=tmp_path, identity="run", spacing=3600.0, progress=interrupt)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) is before
    assert reached(tmp_path) == done[-1] < STEPS
    resumed = fit(folder=tmp_path, identity="run", progress=lambda steps, _: done.append(steps))
    assert done == [EVERY * (i + 1) for i in range(STEPS // EVERY)], "no step was taken twice, none left out"
    assert same_bits(resumed, unbroken)


def test_a_signal_ends_the_runs_of_other_threads_too(tmp_path, unbroken):
    started = threading.Barrier(3)

    def one(name: str) -> trainer.Fit:
        waited = iter([lambda _: started.wait()])
        return fit(folder=tmp_path / name, identity="run", progress=lambda *_: next(waited, time.sleep)(0.02))

    with ThreadPoolExecutor(2) as pool, trainer.ending_on_signals():
        runs = [pool.submit(one, name) for name in "ab"]
        started.wait()
        assert trainer.runs_in_progress() == 2
        os.kill(os.getpid(), signal.SIGTERM)
        codes = [getattr(run.exception(), "code", None) for run in runs]
    assert codes == [143, 143]
    assert trainer.runs_in_progress() == 0
    for name in "ab":
        assert reached(tmp_path / name) < STEPS
        assert same_bits(fit(folder=tmp_path / name, identity="run"), unbroken)


def test_a_signal_acts_at_once_where_nothing_runs():
    def ask_and_wait() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    with trainer.ending_on_signals(), pytest.raises(trainer.Interrupted) as caught:
        ask_and_wait()
    assert caught.value.code == 143


def test_a_full_disk_is_an_error_that_leaves_the_last_checkpoint(tmp_path, unbroken):
    """Once the run may write no more than a few bytes to any file, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(done: int, _: float) -> None:
        if done == 2 * EVERY:
            resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))

    try:
        with pytest.raises(OSError, match=r"folder: .* takes no checkpoint"):
            fit(folder=tmp_path, identity="run", spacing=0.0, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert reached(tmp_path) == 2 * EVERY
    assert same_bits(fit(folder=tmp_path, identity="run"), unbroken)
    assert alone(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.9, 0.999])
@pytest.mark.parametrize("damaged", [trainer.CHECKPOINT, trainer.ARRAYS])
def test_a_truncated_checkpoint_is_refused_and_left_as_it_is(tmp_path, keep, damaged):
    fit(EVERY, folder=tmp_path, identity="run")
    written = [tmp_path / damaged] if damaged == trainer.CHECKPOINT else tmp_path.glob(f"{damaged}-*/**/*")
    cut = {path: path.read_bytes()[: int(keep * path.stat().st_size)] for path in written if path.is_file()}
    for path, part in cut.items():
        path.write_bytes(part)
    with pytest.raises(ValueError, match=r"^folder: .*checkpoint.json cannot be read .*; expected a whole checkpoint"):
        fit(folder=tmp_path, identity="run")
    assert cut
    assert all(path.read_bytes() == part for path, part in cut.items())


def other_loss(params, key, data):
    return 1.000001 * loss(params, key, data)


def steady(rate: float) -> trainer.Trainer:
    """A trainer whose optimiser keeps its rate to itself, not in its state."""
    return trainer.make(loss, optax.sgd(rate))


IDENTITY = {"rate": 0.1, "layers": [1, 2]}


OTHERS = {
    "identity": ({"identity": IDENTITY | {"rate": 0.2}}, r"of identity.rate = 0.1; expected identity.rate = 0.2$"),
    "list": ({"identity": IDENTITY | {"layers": [1, 3]}}, r"of identity.layers\[1\] = 2; expected .* = 3$"),
    "one more": ({"identity": IDENTITY | {"new": 1}}, r"of identity.new = nothing; expected identity.new = 1$"),
    "rate": ({"maker": trainer.make(loss, trainer.adamw(0.2, STEPS))}, "whose first state differs"),
    "longer": ({"maker": trainer.make(loss, trainer.adamw(0.1, 60)), "steps": 60}, "whose first state differs"),
    "seed": ({"seed": 1}, "whose first state differs; expected the same first state, or another folder$"),
    "data": ({"data": DATA + 1e-6}, "whose data differs"),
    "code": ({"maker": trainer.make(other_loss, trainer.adamw(0.1, STEPS))}, "whose program of a step differs"),
    "shape": (
        {"width": 5, "data": jnp.zeros((1, 5))},
        r"in which state.* is float32\[3, 4\]; expected float32\[3, 5\]$",
    ),
    "optimiser": ({"maker": steady(0.1)}, r"in which state.optimiser.* is .*; expected nothing$"),
    "fewer steps": ({"steps": 10}, "^steps: 10; expected at least 30, which .* holds of this run$"),
}


def ask(folder: Path, **changes: Any) -> trainer.Fit:
    """A run that differs by `changes` from the one that `IDENTITY` names."""
    told = {"maker": TRAINER, "data": DATA, "seed": 0, "width": 4, "steps": STEPS, "identity": IDENTITY} | changes
    keys = jax.random.split(jax.random.key(told["seed"]), SEEDS)
    state = jax.vmap(told["maker"].init)(keys, {"w": jnp.zeros((SEEDS, told["width"]))})
    options = {"every": EVERY, "folder": folder, "identity": told["identity"]}
    return trainer.fit(told["maker"], state, told["data"], told["steps"], **options)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    ask(folder)
    return folder


@pytest.mark.parametrize("what", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_by_what_differs(checkpoint, what):
    changes, message = OTHERS[what]
    whole = (checkpoint / trainer.CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match=message) as caught:
        ask(checkpoint, **changes)
    assert "delete" not in str(caught.value)
    assert (checkpoint / trainer.CHECKPOINT).read_bytes() == whole


def test_a_rate_that_the_optimiser_keeps_to_itself_is_in_the_program(tmp_path):
    ask(tmp_path, maker=steady(0.1))
    with pytest.raises(ValueError, match="whose program of a step differs"):
        ask(tmp_path, maker=steady(0.2))


def test_checkpoints_are_not_cast(tmp_path, checkpoint):
    """Neither from float32 to float64 nor back."""
    with jax.enable_x64(True):
        wide = ask(tmp_path, data=jnp.arange(4.0)[None])
        assert wide.state.params["w"].dtype == jnp.float64
        with pytest.raises(ValueError, match=r"in which state.* is float32\[.*\]; expected float64\["):
            ask(checkpoint, data=jnp.arange(4.0)[None])
    with pytest.raises(ValueError, match=r"in which state.* is float64\[.*\]; expected float32\["):
        ask(tmp_path)


def test_more_steps_of_the_same_run_and_another_length_of_chunks_go_on(tmp_path, unbroken):
    fit(EVERY, folder=tmp_path, identity="run")
    resumed = trainer.fit(TRAINER, start(), DATA, STEPS, every=7, folder=tmp_path, identity="run")
    np.testing.assert_allclose(resumed.losses, unbroken.losses, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every: 0; expected .*at least 1"),
        ({"steps": 0}, "steps: 0; expected .*at least 1"),
        ({"spacing": float("nan")}, "spacing: nan; expected seconds"),
        ({"folder": Path("somewhere")}, "identity: None; expected what the run is"),
    ],
)
def test_what_a_run_cannot_be_is_refused(options, message):
    told = {"steps": STEPS, "every": EVERY} | options
    with pytest.raises(ValueError, match=f"^{message}"):
        trainer.fit(TRAINER, start(), DATA, **told)


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
