"""The only bridge from Flax to the measurements: a cell becomes a `Step` on its flattened carry."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.carries import Layout, cast, check_arrays, layout_of
from throughtime.cells.foreign import check_cell, initial_carry, pair_of, resting, warn
from throughtime.dynamics import Step, Trajectory, trajectory
from throughtime.traced import NONE, Cut, Program, coarsest, cut, trace

EXACT: dict[str, Callable] = {"tanh": tanh, "logistic": sigmoid}
"""Primitives whose derivative autodiff rounds to 0 where they saturate, and the same without."""


@dataclasses.dataclass(frozen=True)
class CellStep:
    """A cell as a dynamical system with outputs; unpacks as ``step, h0, unravel``.

    Attributes:
        step: maps the flattened carry ``(n,)`` and an input ``(d,)`` to the next carry ``(n,)``.
        h0: the flattened initial carry, ``(n,)``.
        unravel: turns a flattened carry back into the cell's own.
        read: maps the flattened carry ``(n,)`` before a step and its input ``(d,)`` to the output
            of that step, the second value that the cell returns.
        both: maps the same to the next carry ``(n,)`` and the output.
    """

    step: Step
    h0: Float[Array, " n"]
    unravel: Callable[[Float[Array, " n"]], PyTree]
    read: Callable[[Float[Array, " n"], Float[Array, " d"]], Array]
    both: Callable[[Float[Array, " n"], Float[Array, " d"]], tuple[Array, Array]]
    _traced: Callable[[Float[Array, " d"]], Program]

    def __iter__(self) -> Iterator[Any]:
        """The system alone, as those take it who do not ask for outputs."""
        return iter((self.step, self.h0, self.unravel))

    def follow(self, inputs: Float[Array, "T d"]) -> Trajectory:
        """Run the cell along a sequence.

        Args:
            inputs: x_1 … x_T, ``(T, d)``.

        Returns:
            The trajectory from `h0`.
        """
        return trajectory(self.step, self.h0, inputs)

    def outputs(self, run: Trajectory) -> Float[Array, "T ..."]:
        """The outputs along a trajectory, as functions of its states.

        y_t = output(h_{t−1}, h_t, x_t)

        Where the cell makes y_t of its new carry, so does this; what y_t is made of besides stays.
        A loss of these outputs therefore has the partial derivatives ∂L/∂h_t from which an
        adjoint begins.

        Args:
            run: h_0 … h_T and x_1 … x_T.

        Returns:
            y_1 … y_T, ``(T, …)``.
        """
        return jax.vmap(self.output)(run.previous, run.states, run.inputs)

    def output(
        self, before: Float[Array, " n"], after: Float[Array, " n"], x: Float[Array, " d"]
    ) -> Array:
        """The output of one step as a function of the states around it; see `outputs`.

        Args:
            before: h_{t−1}, ``(n,)``.
            after: h_t, ``(n,)``.
            x: x_t, ``(d,)``.

        Returns:
            y_t.
        """
        return self.cut(x)((before, x), jax.tree.leaves(self.unravel(after)))

    def is_apart(self, x: Float[Array, " d"]) -> bool:
        """Tell whether the output of a step is made of nothing that the carry hands on.

        Its gradient is then no part of dL/dh_t, and stands beside it.

        Args:
            x: any input.

        Returns:
            False for all cells of `CELLS`.
        """
        return not self.cut(x).uses_nodes

    def cut(self, x: Float[Array, " d"]) -> Cut:
        """The output as it is made of the states around a step; see `traced.Cut`.

        Args:
            x: any input.

        Returns:
            A function of (h_{t−1}, x_t) and of the leaves of the next carry.
        """
        return cut(self._traced(x))


def as_step(cell: Any, carry: PyTree | None = None, *, dtype=None, exact: bool = True) -> CellStep:
    """See any Flax cell as a `Step` on its whole carry.

    h = ravel(carry),  step(h, x) = ravel(carry'),  read(h, x) = y,  (carry', y) = cell(carry, x)

    The whole carry counts: an LSTM's state is (c, h), and leaving c out gives other gradients and
    other exponents. A carry may be any pytree with a part of floats; integers, flags and random
    keys in it are carried along and have no gradient, which is said in a warning.

    A cell is measured as it is when nothing is learned: dropout keeps all, batch normalisation uses
    its running averages, and what else a cell would change of itself as it steps stays as it is.

    Args:
        cell: any `nnx.RNNCellBase`, ours, Flax's or the user's.
        carry: the initial carry of one sequence (no batch axis); None asks the cell for its own.
        dtype: cast the cell's parameters and the carry to it; None leaves them as they are.
        exact: whether tanh and the logistic function have derivatives that are right where they
            saturate, sech² and σ(a) σ(−a). False leaves what autodiff rounds to 0 there, and with
            it what training sees.

    Returns:
        A `CellStep`; ``step, h0, unravel = as_step(cell)``, and its ``read``.

    Raises:
        TypeError: if it is no cell, such as an `nnx.RNN`; the sentence says what to pass instead.
        ValueError: if the carry has no floats, or is not one of real numbers; or (when the step is
            first traced) if the cell returns another carry than it was given.
    """
    check_cell(cell)
    if carry is None:
        carry = initial_carry(cell)
    check_arrays(type(cell).__name__, carry)
    carry = cast(carry, dtype)
    layout = layout_of(carry)
    if layout.without_gradient:
        kinds = " and ".join(layout.without_gradient)
        warn(f"the carry of {type(cell).__name__} has parts of {kinds}: they have no gradient.")
    graphdef, state = nnx.split(resting(cell))
    call = _calling(type(cell).__name__, graphdef, cast(state, dtype), layout)
    programs: dict[Any, Program] = {}

    def traced(x: Float[Array, " d"]) -> Program:
        kind = (x.shape, str(x.dtype))
        if kind not in programs:
            state = jax.ShapeDtypeStruct(h0.shape, h0.dtype)
            programs[kind] = trace(call, state, x, rules=EXACT if exact else NONE)
            _say_digits(type(cell).__name__, coarsest(programs[kind]), h0.dtype)
        return programs[kind]

    def both(h: Float[Array, " n"], x: Float[Array, " d"]) -> tuple[Array, Array]:
        program = traced(x) if exact else None
        # A cell whose slopes are exact already is called, not read from its trace.
        run = program if program is not None and program.is_changed else call
        *leaves, output = run(h, x)
        return layout.pack(jax.tree.unflatten(layout.tree, leaves)), output

    h0 = layout.pack(carry)
    step, read = (lambda h, x: both(h, x)[0]), (lambda h, x: both(h, x)[1])
    return CellStep(step, h0, layout.unpack, read, both, traced)


def _calling(name: str, graphdef: nnx.GraphDef, state: PyTree, layout: Layout) -> Callable:
    """The cell as a function of arrays, (h, x) to the leaves of the next carry and the output."""
    # Variables of its own in every trace: a cell that changes them may do so, and it is forgotten.
    (arrays, tree), told = jax.tree.flatten(state), set()

    def call(h: Float[Array, " n"], x: Float[Array, " d"]) -> list[Array]:
        cell = nnx.merge(graphdef, jax.tree.unflatten(tree, arrays))
        before = _held(cell)
        carry, output = pair_of(name, cell(layout.unpack(h), x))
        changed = [path for path, value in _held(cell).items() if value is not before.get(path)]
        for path in set(changed) - told:
            warn(f"{name} writes to its {path} as it steps; for measuring it stays as it was.")
            told.add(path)
        leaves = jax.tree.leaves(carry)
        _check_carry(name, jax.tree.structure(carry), leaves, layout)
        return [*leaves, output]

    return call


def _say_digits(name: str, coarse: Any, dtype: Any) -> None:
    """Say it where a cell computes with fewer digits than its carry has."""
    if jnp.finfo(coarse).eps > jnp.finfo(dtype).eps:
        warn(
            f"{name} computes in {coarse} in places, although its carry is {dtype}: what is "
            f"measured has the digits of {coarse}."
        )


def _held(cell: Any) -> dict[str, Any]:
    """All that a cell holds, by its path."""
    variables = nnx.to_flat_state(nnx.state(cell))
    return {".".join(map(str, path)): variable.get_value() for path, variable in variables}


def _check_carry(name: str, tree: Any, leaves: list[Any], layout: Layout) -> None:
    """Refuse a carry that is not like the one before the step."""
    check_arrays(name, leaves)
    if tree != layout.tree:
        raise ValueError(f"{name} turns a carry {layout.tree} into {tree}; it must keep its parts.")
    for old, new in zip(layout.leaves, leaves, strict=True):
        if new.dtype != old.dtype:
            raise ValueError(
                f"{name} turns a {old.dtype} carry into {new.dtype}; build it with dtype=None and "
                "param_dtype of the dtype wanted, so that it computes in that."
            )
        if new.shape != old.shape:
            raise ValueError(
                f"{name} turns a carry of shape {old.shape} into {new.shape}; it must keep it."
            )


def output_cut(cell: Any, carry: PyTree, inputs: Float[Array, "*B d"]) -> Cut:
    """The output of a cell as a function of the carries around a step, with their own batch axes.

    Args:
        cell: any recurrent cell.
        carry: before the step.
        inputs: of the step, ``(…, d)``.

    Returns:
        A function of the leaves of the carry and the inputs, and of the leaves of the next carry.
    """
    leaves, tree = jax.tree.flatten(carry)

    def call(*given):
        new, output = cell(jax.tree.unflatten(tree, given[:-1]), given[-1])
        return [*jax.tree.leaves(new), output]

    return cut(trace(call, *leaves, inputs))
