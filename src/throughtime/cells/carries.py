"""A carry as the vector of a dynamical system, whatever it is made of."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class Leaf(NamedTuple):
    """Shape and dtype of one array of a carry.

    Attributes:
        shape: of it.
        dtype: of it.
        impl: of typed random keys, the generator; else None.
    """

    shape: tuple[int, ...]
    dtype: Any
    impl: Any = None


class Layout(NamedTuple):
    """Places of the leaves of a carry in a vector of floats, one after the other.

    Floats are themselves. Integers, flags and random keys have no derivative, but decide what a
    cell does next: they are kept as their bytes, 0 … 255, which every float type holds exactly.

    Attributes:
        tree: the structure of the carry.
        leaves: its arrays.
        dtype: of the vector, that of the widest floats.
    """

    tree: Any
    leaves: tuple[Leaf, ...]
    dtype: Any

    @property
    def without_gradient(self) -> list[str]:
        """The dtypes of the leaves that have no derivative."""
        return sorted({str(leaf.dtype) for leaf in self.leaves if not _is_float(leaf)})

    def pack(self, carry: PyTree) -> Float[Array, " n"]:
        """The carry as a vector.

        Args:
            carry: of this layout.

        Returns:
            ``(n,)``.
        """
        return jnp.concatenate([self._floats(jnp.asarray(leaf)) for leaf in jax.tree.leaves(carry)])

    def unpack(self, h: Float[Array, " n"]) -> PyTree:
        """The carry that a vector stands for.

        Args:
            h: ``(n,)``.

        Returns:
            The carry.
        """
        sizes = [_size(leaf) for leaf in self.leaves]
        ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
        parts = jnp.split(h, ends[:-1])
        pairs = zip(self.leaves, parts, strict=True)
        return jax.tree.unflatten(self.tree, [_restored(leaf, part) for leaf, part in pairs])

    def _floats(self, leaf: Array) -> Float[Array, " m"]:
        """One leaf, flattened."""
        values = leaf if _is_float(leaf) else _bytes(leaf)
        return jnp.ravel(values).astype(self.dtype)


def layout_of(carry: PyTree) -> Layout:
    """The layout of a carry.

    Args:
        carry: any pytree of arrays, at least one of floats.

    Returns:
        Its layout.

    Raises:
        ValueError: if a leaf is complex or no array, or none is of floats.
    """
    leaves = [_leaf(jnp.asarray(leaf)) for leaf in jax.tree.leaves(carry)]
    for leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise ValueError(
                f"the carry has a part of {leaf.dtype}; a state is real: carry the real and the "
                "imaginary part."
            )
    floats = [leaf.dtype for leaf in leaves if _is_float(leaf) and math.prod(leaf.shape)]
    if not floats:
        found = ", ".join(str(leaf.dtype) for leaf in leaves) or "nothing"
        raise ValueError(f"a carry needs a part of floats to have gradients; this one is {found}.")
    widest = max(floats, key=lambda dtype: jnp.finfo(dtype).bits)
    return Layout(jax.tree.structure(carry), tuple(leaves), widest)


def check_arrays(name: str, carry: PyTree) -> None:
    """Refuse a carry of anything but arrays, before a dtype is asked of it.

    Args:
        name: of the cell.
        carry: any pytree.

    Raises:
        TypeError: if a leaf is none.
    """
    for leaf in jax.tree.leaves(carry):
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{name} carries a {type(leaf).__name__}; all parts of a carry must be arrays."
            )


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """A tree of arrays with its floats in another dtype.

    Args:
        tree: any.
        dtype: None leaves all as it is.

    Returns:
        The tree.
    """
    if dtype is None:
        return tree

    def each(leaf):
        return leaf.astype(dtype) if _is_float(leaf) else leaf

    return jax.tree.map(each, tree)


def hidden(carry: PyTree) -> Float[Array, "*B m"]:
    """The part of a carry in which our cells and Flax's keep h: all of it, or the end of a tuple.

    What other cells hand on is not to be guessed from their carries; see `CellStep.outputs`.

    Args:
        carry: (c, h) of an LSTM; of a stack a tuple of its layers' carries.

    Returns:
        h, ``(…, m)``; of a stack the top layer's.
    """
    while isinstance(carry, tuple):
        carry = carry[-1]
    return carry


def _leaf(array: Array) -> Leaf:
    """The description of an array."""
    impl = jax.random.key_impl(array) if _is_key(array) else None
    return Leaf(array.shape, array.dtype, impl)


def _is_float(leaf: Any) -> bool:
    """Tell whether an array, or its description, is of floats."""
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _is_key(leaf: Any) -> bool:
    """Tell whether it is of typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _bytes(leaf: Array) -> Array:
    """The bytes of a leaf that has no derivative."""
    data = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    whole = data.astype(jnp.uint8) if data.dtype == jnp.bool_ else data
    return jax.lax.bitcast_convert_type(whole, jnp.uint8)


def _bytes_like(leaf: Leaf) -> Any:
    """The shape of what `_bytes` makes of a leaf."""
    return jax.eval_shape(_bytes, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))


def _size(leaf: Leaf) -> int:
    """The numbers of a leaf in the vector."""
    return math.prod(leaf.shape if _is_float(leaf) else _bytes_like(leaf).shape)


def _restored(leaf: Leaf, part: Float[Array, " m"]) -> Array:
    """A leaf as it was."""
    if _is_float(leaf):
        return part.reshape(leaf.shape).astype(leaf.dtype)
    raw = jnp.round(part).astype(jnp.uint8).reshape(_bytes_like(leaf).shape)
    if _is_key(leaf):
        words = jax.lax.bitcast_convert_type(raw, jnp.uint32)
        return jax.random.wrap_key_data(words, impl=leaf.impl)
    if leaf.dtype == jnp.bool_:
        return raw.astype(jnp.bool_)
    return jax.lax.bitcast_convert_type(raw, leaf.dtype)
