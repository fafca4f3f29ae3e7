"""Networks with a read-out, and the five ways to turn sequences into sequences.

All is for one sequence and made of pure functions of arrays: `jax.vmap` adds a batch, `nnx.split`
takes the parameters out to be differentiated.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from throughtime.cells import hidden
from throughtime.draws import random_key
from throughtime.initializers import gaussian


class Model(nnx.Module):
    """A recurrent network with a linear read-out; bidirectional with a second cell.

    y_t = [h_t, g_t] @ kernel + bias,    h_t = hidden(cell: x_1 … x_t),
    g_t = hidden(backward: x_T … x_t)

    The directions share nothing but the read-out. A stack in each (`StackedCell`) makes both deep;
    their layers do not mix. Nothing is known here of padding: all T steps are the sequence.

    Args:
        cell: any recurrent cell or stack, with d inputs.
        out_features: k.
        backward: a cell, also with d inputs, that reads the sequence from its end; None for none.
        rngs: nnx random streams, for the kernel.

    Raises:
        ValueError: if ``out_features`` is below 1, or the cells differ in d or in dtype.

    Attributes:
        kernel: ``(m, k)``, N(0, 1/m), m the numbers read out of the cell and of its companion.
        bias: ``(k,)``, zeros.

    References:
        Schuster, Paliwal 1997, Bidirectional recurrent neural networks.
    """

    def __init__(
        self,
        cell: nnx.RNNCellBase,
        out_features: int,
        *,
        backward: nnx.RNNCellBase | None = None,
        rngs: nnx.Rngs,
    ):
        cells: list[Any] = [cell] if backward is None else [cell, backward]
        rests = [hidden(start(one)) for one in cells]
        if out_features < 1:
            raise ValueError(f"out_features must be at least 1, not {out_features}.")
        if len({(one.in_features, rest.dtype) for one, rest in zip(cells, rests, strict=True)}) > 1:
            found = [f"{a.in_features} of {b.dtype}" for a, b in zip(cells, rests, strict=True)]
            raise ValueError(f"both directions must read the same inputs, not {found}.")
        width, dtype = sum(rest.size for rest in rests), rests[0].dtype
        self.cell = cell
        self.backward = backward
        self.in_features: int = cells[0].in_features
        self.out_features = out_features
        self.kernel = nnx.Param(gaussian()(rngs.params(), (width, out_features), dtype))
        self.bias = nnx.Param(jnp.zeros(out_features, dtype))

    def __call__(self, inputs: Float[Array, "T d"]) -> Float[Array, "T k"]:
        """Read a sequence, and answer at every step.

        Args:
            inputs: x_1 … x_T, ``(T, d)``.

        Returns:
            y_1 … y_T, ``(T, k)``.
        """
        return self.read(self.states(inputs))

    def states(self, inputs: Float[Array, "T d"]) -> Float[Array, "T m"]:
        """What is read out at every step, without the read-out.

        Args:
            inputs: x_1 … x_T, ``(T, d)``.

        Returns:
            h_1 … h_T, ``(T, m)``; of a bidirectional model [h_t, g_t], both in the order of the
            inputs, so that g_t has read x_T … x_t.
        """
        forward = follow(self.cell, start(self.cell), inputs)[1]
        if self.backward is None:
            return forward
        backward = follow(self.backward, start(self.backward), inputs[::-1])[1]
        return jnp.concatenate([forward, backward[::-1]], axis=1)

    def read(self, states: Float[Array, "*T m"]) -> Float[Array, "*T k"]:
        """The read-out, states @ kernel + bias.

        Args:
            states: ``(…, m)``, as `states` gives them.

        Returns:
            ``(…, k)``.
        """
        products = states @ self.kernel[...]
        return products + jnp.broadcast_to(self.bias[...], products.shape)


def start(cell: Any) -> PyTree:
    """The carry of one sequence before its first input.

    Args:
        cell: any recurrent cell.

    Returns:
        The cell's own initial carry, without a batch axis.
    """
    return cell.initialize_carry((cell.in_features,), nnx.Rngs(random_key(0)))


def follow(
    cell: nnx.RNNCellBase, carry: PyTree, inputs: Float[Array, "T d"]
) -> tuple[PyTree, Float[Array, "T m"]]:
    """Run a cell along a sequence.

    Args:
        cell: any recurrent cell.
        carry: from which it starts.
        inputs: x_1 … x_T, ``(T, d)``.

    Returns:
        The last carry, and what is read out of the carry after each step, ``(T, m)``.
    """
    graphdef, state = nnx.split(cell)

    def step(carry, x):
        carry, _ = nnx.merge(graphdef, state)(carry, x)
        return carry, hidden(carry)

    return jax.lax.scan(step, carry, inputs)


def one_to_one(model: Model, x: Float[Array, " d"]) -> Float[Array, " k"]:
    """One input, one output: a single step from rest, a feed-forward network.

    y = model(x)_1

    Args:
        model: of one or two directions.
        x: ``(d,)``.

    Returns:
        ``(k,)``.
    """
    return model(x[None])[0]


def one_to_many(model: Model, x: Float[Array, " d"], num_steps: int) -> Float[Array, "S k"]:
    """One input, a sequence of outputs: each output is the next input (autoregression).

    y_1 = model(x),    x_{s+1} = y_s

    Args:
        model: of one direction, with k = d.
        x: the first input, ``(d,)``.
        num_steps: S, at least 1.

    Returns:
        y_1 … y_S, ``(S, k)``.

    Raises:
        ValueError: if k is not d, S is below 1, or the model reads backwards.

    References:
        Graves 2013, Generating sequences with recurrent neural networks, arXiv:1308.0850.
    """
    return _generate(model, start(model.cell), x, num_steps)


def many_to_one(model: Model, inputs: Float[Array, "T d"]) -> Float[Array, " k"]:
    """A sequence of inputs, one output: the answer of a network that has read all of it.

    y = [h_T, g_1] @ kernel + bias

    That is the last output of `many_to_many` for a model of one direction. With two it is not:
    there the backward cell has read x_T alone. Each direction is asked after its own last step.

    Args:
        model: of one or two directions.
        inputs: x_1 … x_T, ``(T, d)``, T at least 1.

    Returns:
        ``(k,)``.
    """
    last = follow(model.cell, start(model.cell), inputs)[1][-1]
    if model.backward is None:
        return model.read(last)
    first = follow(model.backward, start(model.backward), inputs[::-1])[1][-1]
    return model.read(jnp.concatenate([last, first]))


def many_to_many(model: Model, inputs: Float[Array, "T d"]) -> Float[Array, "T k"]:
    """A sequence of inputs, an output in step with each.

    y_t = [h_t, g_t] @ kernel + bias

    Args:
        model: of one direction, whose y_t knows x_1 … x_t; or of two, whose y_t knows all.
        inputs: x_1 … x_T, ``(T, d)``.

    Returns:
        y_1 … y_T, ``(T, k)``.
    """
    return model(inputs)


def encode_decode(
    encoder: nnx.RNNCellBase, decoder: Model, inputs: Float[Array, "T d"], num_steps: int
) -> Float[Array, "S k"]:
    """A sequence of inputs, then a sequence of outputs of another length.

    c = the encoder's carry after x_1 … x_T,    y_1 = decoder(0 from c),    x_{s+1} = y_s

    All that the decoder knows of the inputs is c, where it starts (Sutskever et al.; the decoder of
    Cho et al. is shown c at every step as well). Its first input is zero. Where the layers move at
    rates of their own, c holds the encoder's clock, and the decoder's goes on from there.

    Args:
        encoder: any recurrent cell or stack, with d inputs.
        decoder: a model of one direction with as many inputs as outputs, k, and with a carry like
            the encoder's.
        inputs: x_1 … x_T, ``(T, d)``.
        num_steps: S, at least 1.

    Returns:
        y_1 … y_S, ``(S, k)``.

    Raises:
        ValueError: if the carries differ in layout, shape or dtype; and as `one_to_many`.

    References:
        Sutskever, Vinyals, Le 2014, arXiv:1409.3215; Cho et al. 2014, arXiv:1406.1078.
    """
    given, wanted = start(encoder), start(decoder.cell)
    if _layout(given) != _layout(wanted):
        raise ValueError(
            f"the decoder must have a carry like the encoder's, {_layout(given)}, not "
            f"{_layout(wanted)}."
        )
    carry, _ = follow(encoder, given, inputs)
    silence = jnp.zeros(decoder.in_features, decoder.bias[...].dtype)
    return _generate(decoder, carry, silence, num_steps)


def _generate(model: Model, carry: PyTree, x: Float[Array, " d"], num_steps: int) -> Array:
    """Feed outputs back as inputs, from a carry and a first input."""
    if model.backward is not None:
        raise ValueError("a model that reads backwards cannot be fed what it has yet to say.")
    if model.in_features != model.out_features:
        raise ValueError(
            f"outputs can be fed back only where there are as many as inputs, not "
            f"{model.out_features} for {model.in_features}."
        )
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, not {num_steps}.")
    graphdef, state = nnx.split(model)

    def step(now, _):
        copy = nnx.merge(graphdef, state)
        carry, _ = copy.cell(*now)
        y = copy.read(hidden(carry))
        return (carry, y), y

    return jax.lax.scan(step, (carry, x), length=num_steps)[1]


def _layout(carry: PyTree) -> str:
    """The shapes and dtypes of a carry as it is nested, in words."""
    return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", carry)).replace("'", "")
