"""Sweeps: a point is the same point alone, on any number of devices and processes; memory decides how many at once."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdm import sweep, trainer

POINTS, STEPS, EVERY = 11, 20, 5
"""No number of devices but one divides that of the points."""


def loss(params, key, data):
    return jnp.mean((params["w"] - data - jax.random.uniform(key, params["w"].shape)) ** 2)


TRAINER = trainer.make(loss, optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.9))


def train(points=slice(POINTS), steps=STEPS, **options):
    """Points that differ in key, rate and data."""
    keys = jax.random.split(jax.random.key(0), POINTS)
    state = jax.vmap(TRAINER.init)(keys, {"w": jnp.zeros((POINTS, 4))})
    rates = 0.01 * (1 + jnp.arange(POINTS, dtype=jnp.float32))
    state = state._replace(
        optimiser=state.optimiser._replace(hyperparams=state.optimiser.hyperparams | {"learning_rate": rates})
    )
    state, data = jax.tree.map(lambda x: x[points], (state, jnp.arange(POINTS, dtype=jnp.float32)[:, None]))
    return trainer.fit(TRAINER, state, data, steps, every=EVERY, own_data=True, **options)


@pytest.fixture(scope="module")
def whole():
    return train(devices=jax.devices()[:1])


def numbers(fit: trainer.Fit) -> list[list[float]]:
    """What a run ends with, as JSON types, without rounding."""
    return np.concatenate([fit.losses, fit.state.params["w"]], axis=1).tolist()


def test_a_point_of_a_sweep_is_the_point_alone(whole):
    for point in (0, POINTS - 1):
        alone = train(slice(point, point + 1))
        np.testing.assert_allclose(numbers(alone)[0], numbers(whole)[point], rtol=1e-6)
    assert len({row[-1] for row in numbers(whole)}) == POINTS, "points differ"


def test_all_points_are_one_program(whole):
    train(devices=jax.devices()[:1])
    program = trainer._compiled(TRAINER.run, sweep.device_mesh(1), True)
    assert program._cache_size() == 2, "all points at once, and one alone"


EIGHT_DEVICES = """
    import json, shutil, sys
    from pathlib import Path
    import jax
    from jaxdm import sweep
    from tests.test_sweep import POINTS, STEPS, numbers, train

    folder = Path(sys.argv[1])
    found = {"devices": len(jax.devices())}
    for count, steps in ((1, 5), (8, 10), (2, STEPS)):
        resumed = train(steps=steps, folder=folder, identity="run", devices=jax.devices()[:count])
        if count == 8:
            shutil.copytree(folder, folder.with_name("of eight devices"))
    found["resumed"] = numbers(resumed)
    mesh = sweep.device_mesh(3)
    squared = jax.jit(sweep.over_points(lambda x, shared: shared * x**2, mesh))
    placed = sweep.spread(jax.numpy.arange(1.0, 8.0), mesh)
    found["padded"] = placed.tolist()
    found["squared"] = sweep.gathered(squared(placed, sweep.replicated(2.0, mesh)), 7, mesh).tolist()
    text = squared.lower(placed, 2.0).compile().as_text()
    found["collectives"] = [word for word in ("all-reduce", "all-gather", "all-to-all", "permute") if word in text]
    print(json.dumps(found))
"""


TWO_PROCESSES = """
    import json, sys
    from pathlib import Path
    import jax
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
    from tests.test_sweep import STEPS, numbers, train

    resumed = train(steps=STEPS, folder=Path(sys.argv[1]), identity="run")
    print(json.dumps({"devices": len(jax.devices()), "own": len(jax.local_devices()), "resumed": numbers(resumed)}))
"""


def start(script: str, devices: int, *arguments: object) -> subprocess.Popen:
    """A script in a process of its own, in which the processor is so many devices."""
    root = Path(__file__).parent.parent
    flags = f"--xla_backend_optimization_level=2 --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"PYTHONPATH": str(root), "XLA_FLAGS": flags}
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen) -> dict:
    """The last line that a script prints."""
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(told.splitlines()[-1])


def test_any_number_of_devices_and_processes_gives_the_same_and_goes_on_from_each_others_checkpoints(tmp_path, whole):
    alone = answer(start(EIGHT_DEVICES, 8, tmp_path / "alone"))
    assert alone["devices"] == 8
    np.testing.assert_allclose(alone["resumed"], numbers(whole), rtol=1e-6, err_msg="on 1, 8 and 2 devices")
    assert alone["padded"] == [1, 2, 3, 4, 5, 6, 7, 7, 7]
    assert alone["squared"] == [2.0 * x**2 for x in range(1, 8)]
    assert not alone["collectives"]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    several = [start(TWO_PROCESSES, 2, tmp_path / "of eight devices", coordinator, index) for index in range(2)]
    for told in map(answer, several):
        assert (told["devices"], told["own"]) == (4, 2)
        np.testing.assert_allclose(told["resumed"], numbers(whole), rtol=1e-6)


def test_a_program_s_footprint_is_what_it_holds():
    mesh = sweep.device_mesh(1)
    points = jnp.zeros((7, 1000), jnp.float32)
    compiled = jax.jit(sweep.over_points(lambda point, _: point + 1, mesh)).lower(points, ()).compile()
    assert 2 * points.nbytes <= sweep.footprint(compiled) < 4 * points.nbytes
    assert sweep.free_memory(mesh) > 0


def test_as_many_points_at_once_as_fit_and_one_that_does_not_is_refused():
    asked = []

    def needed(points: int) -> int:
        asked.append(points)
        return 1000 + 100 * -(-points // 4)

    assert sweep.points_at_once(10, 4, needed, 10_000) == 10
    assert asked == [10], "compiled once where all fit"
    assert sweep.points_at_once(90, 4, needed, 2000) == 40
    assert sweep.points_at_once(90, 4, needed, 1100) == 4
    with pytest.raises(sweep.TooLarge, match=r"a single point takes 0\.0 MB on its device, of which 0\.0 MB"):
        sweep.points_at_once(90, 4, needed, 1099)


def test_the_memory_of_a_run_is_known_before_it_starts():
    keys = jax.random.split(jax.random.key(0), 3)
    state = jax.vmap(TRAINER.init)(keys, {"w": jnp.zeros((3, 10_000))})
    data = jnp.zeros(10_000)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.optimiser, data)))
    needed = trainer.footprint(TRAINER, state, data, EVERY, devices=jax.devices()[:1])
    assert held <= needed < 4 * held
