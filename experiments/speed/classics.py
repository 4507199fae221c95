"""The small problems that POMDP solvers have been measured on, built from their published rules.

`python -m experiments.speed.classics` says how long point-based planning takes to 1 % of each one's value.

Dimensions: `S` states, `A` actions, `O` observations. Cells are (row, column), counted from the top left corner.
"""

import itertools
import time

import jax
import numpy as np

from jaxdm.envs import families, pomdp
from jaxdm.envs.pomdp import POMDP
from jaxdm.oracles.pomdp import point_based

Cell = tuple[int, int]
"""Row and column."""


DIRECTIONS = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""North, east, south, west."""


def grid_4x4() -> POMDP:
    """A square where only the goal is seen, in its south-east corner; S = 16, A = 4, O = 2.

    Reference: Littman, Cassandra, Kaelbling, Learning policies for partially observable environments, 1995.
    """
    cells = list(itertools.product(range(4), range(4)))
    return _maze(cells, (3, 3), dict.fromkeys(cells, 0))


def cheese_maze() -> POMDP:
    """Five cells above three dead ends, whose walls are seen, with cheese in the middle one; S = 11, A = 4, O = 7.

    Reference: McCallum, Overcoming incomplete perception with utile distinction memory, ICML 1993.
    """
    cells = [(0, column) for column in range(5)] + [(row, column) for row in (1, 2) for column in (0, 2, 4)]
    walls = {cell: tuple(_neighbour(cells, cell, way) == cell for way in DIRECTIONS) for cell in cells}
    kinds = sorted({walls[cell] for cell in cells if cell != (2, 2)})
    return _maze(cells, (2, 2), {cell: kinds.index(walls[cell]) for cell in cells if cell != (2, 2)})


def _maze(cells: list[Cell], goal: Cell, seen: dict[Cell, int]) -> POMDP:
    """Sure steps, reward 1 for entering the goal, which is seen and from where the next start is drawn."""
    count, observations = len(cells), max(seen[cell] for cell in cells if cell != goal) + 2
    starts = np.array([cell != goal for cell in cells]) / (count - 1)
    transition, reward = np.zeros((count, 4, count)), np.zeros((count, 4))
    for i, cell in enumerate(cells):
        for action, way in enumerate(DIRECTIONS):
            if cell == goal:
                transition[i, action] = starts
            else:
                transition[i, action, cells.index(_neighbour(cells, cell, way))] = 1
                reward[i, action] = _neighbour(cells, cell, way) == goal
    observation = np.eye(observations)[[observations - 1 if cell == goal else seen[cell] for cell in cells]]
    return pomdp.make(transition, reward, np.stack([observation] * 4), starts, discount=0.95)


def maze_4x3() -> POMDP:
    """Unsure steps that cost .04 past a pit (-1) to a goal (+1); walls east and west are seen; S = 11, A = 4, O = 6.

    Reference: Russell, Norvig, Artificial intelligence, 1995; Parr, Russell, Approximating optimal policies for
    partially observable stochastic domains, IJCAI 1995.
    """
    cells = [cell for cell in itertools.product(range(3), range(4)) if cell != (1, 1)]
    ends = {(0, 3): 1.0, (1, 3): -1.0}
    starts = np.array([cell not in ends for cell in cells]) / 9
    transition, reward, seen = np.zeros((11, 4, 11)), np.full((11, 4), -0.04), []
    for i, cell in enumerate(cells):
        walls = [_neighbour(cells, cell, way) == cell for way in DIRECTIONS]
        seen.append([*ends].index(cell) + 4 if cell in ends else 2 * walls[1] + walls[3])
        for action in range(4):
            if cell in ends:
                transition[i, action], reward[i, action] = starts, ends[cell]
                continue
            for turn, chance in ((0, 0.8), (1, 0.1), (3, 0.1)):
                there = _neighbour(cells, cell, DIRECTIONS[(action + turn) % 4])
                transition[i, action, cells.index(there)] += chance
    return pomdp.make(transition, reward, np.stack([np.eye(6)[seen]] * 4), starts, discount=0.95)


def shuttle() -> POMDP:
    """Goods go from one space station to the other; S = 8, A = 3, O = 5.

    States: docked at the least recently visited (0) or the other (7); before the other, facing it (1) or away from it
    (4); before the least recently visited, facing away (3) or to it (6); in space, towards it (2) or the other (5).
    Actions: turn, forward, backward.

    Reference: Chrisman, Reinforcement learning with perceptual aliasing, AAAI 1992.
    """
    transition, reward = np.zeros((8, 3, 8)), np.zeros((8, 3))
    transition[range(8), 0, [1, 4, 5, 6, 1, 2, 3, 1]] = 1
    transition[range(8), 1, [4, 1, 1, 2, 5, 6, 6, 4]] = 1
    transition[[0, 7], 2, 7] = 1
    transition[1, 2, [1, 2, 4]] = 0.4, 0.3, 0.3
    transition[2, 2, [2, 3, 6]] = 0.1, 0.8, 0.1
    transition[3, 2, [0, 3]] = 0.7, 0.3
    transition[4, 2, [4, 7]] = 0.3, 0.7
    transition[5, 2, [1, 4, 5]] = 0.1, 0.8, 0.1
    transition[6, 2, [3, 5, 6]] = 0.3, 0.3, 0.4
    reward[[1, 6], 1] = -3
    reward[3, 2] = 7  # +10 where it docks
    observation = np.zeros((8, 5))
    observation[[0, 1, 3, 4, 6, 7], [4, 1, 3, 3, 0, 2]] = 1
    observation[2, [1, 3]] = observation[5, [0, 3]] = 0.7, 0.3
    return pomdp.make(transition, reward, np.stack([observation] * 3), np.eye(8)[7], discount=0.95)


def hallway() -> POMDP:
    """A robot in a corridor of ten cells with four alcoves, one of them the goal; S = 60, A = 5, O = 21.

    It has a heading, moves and turns unsurely, sees each wall around it with chance .9 and one that is not there with
    chance .05, and four landmarks and the goal surely. Actions: stay, forward, turn right, about, left.

    Reference: Littman, Cassandra, Kaelbling, Learning policies for partially observable environments, 1995.
    """
    alcoves = (2, 4, 6, 8)
    cells = [(0, column) for column in range(11)] + [(1, column) for column in alcoves]
    goal = len(cells) - 1
    starts = np.append(np.ones(56), np.zeros(4)) / 56
    transition, observation = np.zeros((60, 5, 60)), np.zeros((60, 21))
    turns = {2: (0.1, 0.7, 0.1, 0.1), 3: (0.1, 0.15, 0.6, 0.15), 4: (0.1, 0.1, 0.1, 0.7)}
    for i, heading in itertools.product(range(15), range(4)):
        state = 4 * i + heading
        around = [cells.index(_neighbour(cells, cells[i], DIRECTIONS[(heading + turn) % 4])) for turn in range(4)]
        if i == goal:
            transition[state], observation[state, 20] = starts, 1
            continue
        transition[state, 0, state] = 1
        for turn, chance in enumerate((0.8, 0.05, 0.05, 0.05)):
            ends = [heading, heading + 2] if turn == 2 else [heading + turn]
            for end in ends:
                there = state if around[turn] == i else 4 * around[turn] + end % 4
                transition[state, 1, there] += chance / len(ends)
        transition[state, 1, state] += 0.05
        for action, chances in turns.items():
            for turn, chance in enumerate(chances):
                transition[state, action, 4 * i + (heading + turn) % 4] += chance
        for bits in range(16):
            seen = [bits >> (3 - turn) & 1 for turn in range(4)]
            sure = [0.9 if there == i else 0.05 for there in around]
            observation[state, bits] = np.prod([p if yes else 1 - p for p, yes in zip(sure, seen, strict=True)])
        if heading == 2 and i in alcoves:
            observation[state] = np.eye(21)[16 + alcoves.index(i)]
    reward = transition[..., 4 * goal :].sum(axis=-1)
    return pomdp.make(transition, reward, np.stack([observation] * 5), starts, discount=0.95)


def worn_machine(states: int = 100, readings: int = 20) -> POMDP:
    """Machine replacement whose wear is seen as a noisy reading on a coarser scale; S = 100, A = 2, O = 20."""
    hidden = families.mdp.machine_replacement(states=states, wear=0.9, discount=0.95)
    level = np.arange(states) / states * readings
    distribution = np.exp(-0.125 * (np.arange(readings) + 0.5 - level[:, None]) ** 2)
    distribution /= distribution.sum(axis=-1, keepdims=True)
    return pomdp.make(**hidden._asdict(), observation=np.stack([distribution] * 2))


def ladder(rungs: int = 12) -> POMDP:
    """A climb in the dark to an exit, each step costs 3 until it is left; S = 14, A = 3, O = 2.

    Actions: up, which slips to the bottom with chance .1; the door, which leads out from the top; down. Below the top
    the door leads down too. The top is seen with chance .8, and nothing else is. No action alone ever gets out.
    """
    count = rungs + 2
    out = count - 1
    transition, reward = np.zeros((count, 3, count)), np.full((count, 3), -3.0)
    for rung in range(rungs + 1):
        transition[rung, 0, min(rung + 1, rungs)] = 0.9
        transition[rung, 0, 0] += 0.1
        transition[rung, 1:, max(rung - 1, 0)] = 1
    transition[rungs, 1] = np.eye(count)[out]
    transition[out], reward[out] = np.eye(count)[out], 0
    observation = np.zeros((count, 2))
    observation[:, 0] = 1
    observation[rungs] = 0.2, 0.8
    return pomdp.make(transition, reward, np.stack([observation] * 3), np.eye(count)[0], discount=0.95)


def _neighbour(cells: list[Cell], cell: Cell, way: Cell) -> Cell:
    """Where a step leads: nowhere where there is a wall."""
    there = (cell[0] + way[0], cell[1] + way[1])
    return there if there in cells else cell


PROBLEMS = (shuttle, cheese_maze, maze_4x3, grid_4x4, ladder, hallway, worn_machine)


def main(relative: float = 0.01, patience: float = 60.0) -> None:
    """Plan each problem and print a line: sizes, seconds, and between which bounds the value of its start lies.

    Args:
        relative: gap at which a problem is solved, as a share of its value.
        patience: seconds after which a problem is given up.
    """
    print(f"{'problem':14} {'S':>4} {'A':>2} {'O':>3} {'seconds':>8} {'lower':>9} {'upper':>9}")
    for problem in PROBLEMS:
        world = problem()
        start = time.perf_counter()
        solved = point_based.solve(world, relative=relative, seconds=patience)
        seconds = time.perf_counter() - start
        states, actions, observations = world.reward.shape + world.observation.shape[-1:]
        print(f"{problem.__name__:14} {states:4} {actions:2} {observations:3} {seconds:8.2f}", end=" ")
        print(f"{solved.lower:9.4f} {solved.upper:9.4f}", flush=True)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
