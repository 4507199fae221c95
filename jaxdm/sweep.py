"""Sweeps: one function at many points (hyperparameters, seeds), spread over all devices of all processes.

    result[p] = function(point[p], shared),   p = 1, ..., P

Points are a tree with one leading axis. Each of D devices has `ceil(P / D)` of them, the last point repeated where D
does not divide P, and does them alone: nothing passes between devices. So a point of a sweep is the point alone, up to
the rounding of products that are done for several points at once, on any number of devices.

What decides shapes (widths, horizons, numbers of arms) cannot differ between points: it makes another program.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdm.types import Tree
from jaxdm.validation import check_sizes

POINTS = "points"
"""Name of the one axis of the mesh."""


SHARE = 0.8
"""Of the memory that is free, what a sweep may take: allocators need room of their own."""


class TooLarge(ValueError):
    """A single point does not fit the memory of a device."""


def device_mesh(points: int, devices: Sequence[Any] | None = None) -> Mesh:
    """The devices that points are spread over: as many as there are points, and all of several processes.

    Args:
        points: P >= 1.
        devices: to choose from; all of all processes when left out.
    """
    check_sizes(points=points)
    found = list(jax.devices() if devices is None else devices)
    several = len({device.process_index for device in found}) > 1  # every process must have some
    return Mesh(np.asarray(found if several else found[:points]), (POINTS,))


def over_points(function: Callable[[Tree, Tree], Tree], mesh: Mesh) -> Callable[[Tree, Tree], Tree]:
    """`(points, shared) -> results`, leading axis [P] as `spread` gives it; callers jit it.

    The points of a device are vmapped, but on a CPU mapped one after the other: there batched products of small
    matrices take twice the processor time (gradients of a small network, `python -m experiments.speed.tricks`).

    Args:
        function: `(point, shared) -> result`.
        mesh: from `device_mesh`.
    """

    def on_one_device(points: Tree, shared: Tree) -> Tree:
        if jax.default_backend() == "cpu":
            return jax.lax.map(lambda point: function(point, shared), points)
        return jax.vmap(lambda point: function(point, shared))(points)

    if mesh.size == 1:
        return on_one_device
    here = PartitionSpec(POINTS)
    return jax.shard_map(on_one_device, mesh=mesh, in_specs=(here, PartitionSpec()), out_specs=here, check_vma=False)


def spread(points: Tree, mesh: Mesh) -> Tree:
    """Points on the devices of a mesh, the last one repeated until their number is a multiple of the devices'.

    Args:
        points: leading axis [P]; of several processes, the same in each.
        mesh: from `device_mesh`.
    """
    return _placed(points, mesh, PartitionSpec(POINTS)) if mesh.size > 1 else points


def replicated(shared: Tree, mesh: Mesh) -> Tree:
    """What all points share, on every device of a mesh."""
    return _placed(shared, mesh, PartitionSpec()) if mesh.size > 1 else shared


def shapes(points: Tree, mesh: Mesh, shared: bool = False) -> Tree:
    """What `spread`, or `replicated`, makes of a tree: shapes, types and places, without numbers."""
    spec = PartitionSpec() if shared else PartitionSpec(POINTS)

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        if mesh.size == 1:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        first = leaf.shape[:1] if shared else (-(-leaf.shape[0] // mesh.size) * mesh.size,)
        return jax.ShapeDtypeStruct((*first, *leaf.shape[1:]), leaf.dtype, sharding=NamedSharding(mesh, spec))

    return jax.tree.map(shape, points)


def _placed(tree: Tree, mesh: Mesh, spec: PartitionSpec) -> Tree:
    sharding = NamedSharding(mesh, spec)

    def place(leaf: Any) -> jax.Array:
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        if spec != PartitionSpec():
            array = _repeated(array, -(-array.shape[0] // mesh.size) * mesh.size)
        placed = jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
        return jax.random.wrap_key_data(placed, impl=jax.random.key_impl(leaf)) if is_key else placed

    return jax.tree.map(place, tree)


def _repeated(array: np.ndarray, count: int) -> np.ndarray:
    """The same entries, and the last one until there are so many."""
    return array[np.minimum(np.arange(count), array.shape[0] - 1)]


def gathered(results: Tree, points: int, mesh: Mesh) -> Tree:
    """Results of all points, leading axis [P], in the memory of this process; in each the same.

    Args:
        results: from `over_points`.
        points: P; what was repeated is left out.
        mesh: the same.
    """
    if mesh.size == 1:
        return results

    def gather(leaf: jax.Array) -> jax.Array:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        numbers = jax.random.key_data(leaf) if is_key else leaf
        whole = numbers if numbers.is_fully_addressable else multihost_utils.process_allgather(numbers, tiled=True)
        kept = jax.device_put(np.asarray(whole)[:points], jax.local_devices()[0])
        return jax.random.wrap_key_data(kept, impl=jax.random.key_impl(leaf)) if is_key else kept

    return jax.tree.map(gather, results)


def agreed(number: int) -> int:
    """The largest of a number over all processes, so that all of them decide alike."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def footprint(compiled: jax.stages.Compiled) -> int:
    """Bytes that a compiled program takes on each device: arguments, results and what it needs between."""
    used: Any = compiled.memory_analysis()
    both = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    return both + used.temp_size_in_bytes + used.generated_code_size_in_bytes


def free_memory(mesh: Mesh) -> int:
    """Bytes that a sweep may take on each device of this process: `SHARE` of what is free there.

    Devices that are parts of the processor share the machine's free memory.
    """
    here = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    known = [found for device in here if (found := device.memory_stats()) and "bytes_limit" in found]
    if known:
        return int(SHARE * min(found["bytes_limit"] - found["bytes_in_use"] for found in known))
    return int(SHARE * _free_on_the_machine() / len(here))


def _free_on_the_machine() -> int:
    """Bytes that this process may still take: what the kernel says is available, or else half of what there is."""
    listed = Path("/proc/meminfo")
    if listed.exists():
        rows = dict(line.split(":", 1) for line in listed.read_text().splitlines())
        return int(rows["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def points_at_once(points: int, devices: int, needed: Callable[[int], int], free: int) -> int:
    """How many points fit at once, a multiple of the devices unless all do.

    Args:
        points: P.
        devices: D.
        needed: `points at once -> bytes on each device`; asked again for fewer points until they fit.
        free: bytes on each device.

    Raises:
        TooLarge: one point for each device does not fit; the message says what it takes and what there is.
    """
    each = -(-points // devices)
    while (bytes_needed := needed(min(points, each * devices))) > free:
        if each == 1:
            raise TooLarge(
                f"a single point takes {bytes_needed / 1e6:,.1f} MB on its device, of which {free / 1e6:,.1f} MB may "
                "be taken; expected a smaller one (batch, rollouts, width), or a larger device"
            )
        each = max(1, min(each - 1, each * free // bytes_needed))
    return min(points, each * devices)
