"""Time training with its gradients watched and counted against training alone, on one device.

python experiments/benchmark_watching.py            # minutes; a quiet machine, please
python experiments/benchmark_watching.py --quick    # tiny sizes, to see that all of it works
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from contestants import Case, Contestant, measure, relative
from machine import here, publish, texts
from throughtime import objectives, training
from throughtime.cells import make_cell
from throughtime.counting import counted
from throughtime.crews import QUICKLY
from throughtime.initializers import gaussian
from throughtime.objectives import Network, Recipe
from throughtime.provenance import provenance
from throughtime.tasks import make_task
from throughtime.training import TrainState

RESULTS = Path("results") / "benchmark"
REPEATS, OLDER_THAN, RATE = 5, 10, 1e-3
COLUMNS = ("benchmark", "case", "ours", "ours_seconds", "peer", "peer_seconds", "ratio")
COLUMNS += ("ratio_lowest", "ratio_highest", "aim", "reached", "agreement")


class Sizes(NamedTuple):
    """How large everything is."""

    hidden: int = 64
    batch: int = 16
    steps: tuple[int, ...] = (50, 200)
    updates: int = 100


QUICK = Sizes(6, 3, (7,), 5)

CAPTION = f"""\
Adam at rate {RATE} on the adding problem, float32, compiled as trainings are. Everything runs in \
one process, warm, in turns; the run stops where watching changes what is learned.

- `case`: the cell, N hidden units, T steps, batch, updates in a timing.
- `benchmark`: `watching` is `watch_gradients` once after these updates; `counting` is `counted` \
in every one of them, around a clip at norm 1 that both have.
- `ours_seconds`, `peer_seconds`: with and without it; medians of {REPEATS} timings.
- `ratio`, `ratio_lowest`, `ratio_highest`: of ours_seconds to peer_seconds within each turn, what \
it multiplies the time by: the median and the extremes.
- `aim`, `reached`: what the ratio was to be, decided before it was measured.
- `agreement`: the largest difference of a parameter learned with and without, relative to the \
largest number of its array, at most 1e-5.
"""


def cases(sizes: Sizes) -> Iterator[Case]:
    """A run of updates, then a look at it; and the same updates with counts and without."""
    for name, steps in itertools.product(("elman", "gru", "lstm"), sizes.steps):
        state, sample = enrolled(name, steps, sizes)
        case = f"{name}, N = {sizes.hidden}, T = {steps}, batch {sizes.batch}, "
        case += f"{sizes.updates} updates"
        for benchmark in (watching, counting):
            runs = zip(
                (benchmark.__name__, "training alone"), benchmark(state, sample, sizes), strict=True
            )
            ours, peer = (Contestant(said, run, learned) for said, run in runs)
            yield Case(benchmark.__name__, case, ours, [peer], relative, 1e-5, 1.05, is_cost=True)


def enrolled(name: str, steps: int, sizes: Sizes) -> tuple[TrainState, Callable]:
    """A network before its first update, and the batch of each update."""
    task = make_task("adding", max_length=steps, dtype=jnp.float32)
    cell = make_cell(name, task.in_features, sizes.hidden, recurrent_scale=1.0, rngs=nnx.Rngs(0))
    structure, parameters = nnx.split(cell, nnx.Param)
    kernel = gaussian()(jax.random.key(1), (sizes.hidden, task.out_features), jnp.float32)
    network = Network(parameters, kernel, jnp.zeros(task.out_features, jnp.float32))

    def sample(step):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(2), step), sizes.batch)
        return jax.vmap(lambda one: task.sample(one, steps))(keys)

    recipe = Recipe(structure, task.loss)
    return training.start_training(recipe, network, jnp.float32(RATE), jax.random.key(3)), sample


def compiled(function: Callable, *arguments) -> Callable:
    """The function, as crews compile it."""
    lowered: Any = jax.jit(function).lower(*arguments)
    return lowered.compile(QUICKLY)


def watching(state: TrainState, sample: Callable, sizes: Sizes) -> tuple[Callable, Callable]:
    """Updates and a look, and the updates alone."""
    train = compiled(lambda state: training.fit(state, sample, sizes.updates)[0], state)
    batch = sample(jnp.int32(-1))
    look = compiled(lambda state: training.watch(state, batch, OLDER_THAN), state)

    def watched():
        after = train(state)
        return jax.block_until_ready((after, look(after)))[0].network

    return watched, lambda: jax.block_until_ready(train(state)).network


def counting(state: TrainState, sample: Callable, sizes: Sizes) -> tuple[Callable, ...]:
    """Updates that are counted, and updates that are not."""

    def updates(clip):
        transformation = optax.chain(clip, optax.adam(RATE))

        def update(now, step):
            network, memory = now
            gradient = jax.grad(lambda n: objectives.batch_loss(state.recipe, n, sample(step)))(
                network
            )
            changes, memory = transformation.update(gradient, memory, network)
            return (optax.apply_updates(network, changes), memory), None

        begin = (state.network, transformation.init(state.network))
        run = compiled(lambda now: jax.lax.scan(update, now, jnp.arange(sizes.updates))[0], begin)
        return lambda: jax.block_until_ready(run(begin))[0]

    clip = optax.clip_by_global_norm(1.0)
    return updates(counted(clip)), updates(clip)


def learned(network: Network) -> list[np.ndarray]:
    """The parameters at the end: watching must not change what is learned."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(network)]


def main() -> None:
    """Parse the command line, measure and write."""
    parser = argparse.ArgumentParser(description="The price of watching gradients in training.")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, into runs/quick")
    quick = parser.parse_args().quick
    found = []
    for case in cases(QUICK if quick else Sizes()):
        found += measure(case, 2 if quick else REPEATS)
        print(", ".join(texts(found[-1], COLUMNS).values()), flush=True)
    machine = provenance(jax.devices()[0].device_kind) | here()
    folder = RESULTS / "runs" / "quick" if quick else RESULTS
    publish(found, COLUMNS, CAPTION, machine, folder / "watching")


if __name__ == "__main__":
    main()
