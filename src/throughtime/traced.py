"""A step as a program that can be read: what its outputs are made of, and where it saturates.

`nnx.RNN` hands a loss y_t, the second value that a cell returns, and the carry alone to the next
step. Most cells return a part of their new carry; others project it, or add to it what they were
given. A gradient by the state h_t needs y_t as a function of h_t, and a cell's code does not say
it. Its jaxpr does: cut where the new carry is complete, it leaves y_t = output(h_{t−1}, h_t, x_t).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core as jex
from jaxtyping import Array, Bool, Float

from throughtime.dynamics import Step
from throughtime.scaled import at_least_float32

SATURATING = frozenset({"tanh", "logistic", "exp", "exp2", "expm1", "erf", "erfc"})
"""Primitives whose derivative may be too small for a float although it is not 0.

All others are taken for what they are where most cells use them: sums, products, quotients and
choices (rectifiers), whose derivatives are 0 where floats say so.
"""

NONE: Mapping[str, Callable] = MappingProxyType({})

_CALLS = ("jit", "pjit", "closed_call", "remat2", "checkpoint")


class Program(NamedTuple):
    """A traced function, calls of jitted functions written out.

    Attributes:
        traced: its jaxpr, with the arrays over which it closes.
        is_changed: whether a rule took the place of a primitive.
    """

    traced: jex.ClosedJaxpr
    is_changed: bool

    def __call__(self, *arguments: Any) -> list[Any]:
        """Run it.

        Args:
            *arguments: as many arrays as it was traced with.

        Returns:
            Its outputs.
        """
        return _written_out(self.traced, NONE, arguments)


def trace(function: Callable, *examples: Any, rules: Mapping[str, Callable] = NONE) -> Program:
    """Trace a function.

    Args:
        function: of arrays, to a list of arrays.
        *examples: arguments, of which shapes and dtypes count.
        rules: functions of one real array, by the name of the primitive in whose place they are to
            be called.

    Returns:
        The program.
    """
    traced, used = jax.make_jaxpr(function)(*examples), []

    def counting(name: str) -> Callable:
        return lambda *values: used.append(name) or rules[name](*values)

    counted = {name: counting(name) for name in rules}

    written_out = jax.make_jaxpr(lambda *arguments: _written_out(traced, counted, arguments))
    return Program(written_out(*examples), bool(used))


def _written_out(traced: Any, rules: Mapping[str, Callable], arguments: Sequence[Any]) -> list[Any]:
    """The outputs of a program, the equations of which are applied one by one."""
    known = _given(traced, arguments)
    _run(traced.jaxpr.eqns, known, rules)
    return [_value(known, atom) for atom in traced.jaxpr.outvars]


def _given(traced: jex.ClosedJaxpr, arguments: Sequence[Any]) -> dict[Any, Any]:
    """The values of the variables with which a program begins."""
    names = (*traced.jaxpr.constvars, *traced.jaxpr.invars)
    return dict(zip(names, (*traced.consts, *arguments), strict=True))


def _run(equations: Sequence[Any], known: dict[Any, Any], rules: Mapping[str, Callable]) -> None:
    """Add to the values that are known those that the equations make of them, one by one."""
    for equation in equations:
        values = [_value(known, atom) for atom in equation.invars]
        found = zip(equation.outvars, _applied(equation, values, rules), strict=True)
        known.update((out, value) for out, value in found if out not in known)


def _value(known: dict[Any, Any], atom: Any) -> Any:
    """The value of a variable or a literal of a jaxpr."""
    return atom.val if isinstance(atom, jex.Literal) else known[atom]


def _applied(equation: Any, values: list[Any], rules: Mapping[str, Callable]) -> Sequence[Any]:
    """The results of one equation."""
    primitive, parameters = equation.primitive, equation.params
    if primitive.name in rules and not jnp.iscomplexobj(values[0]):
        return [rules[primitive.name](*values)]
    if primitive.name in _CALLS:
        inner = parameters.get("jaxpr", parameters.get("call_jaxpr"))
        closed = inner if isinstance(inner, jex.ClosedJaxpr) else jex.ClosedJaxpr(inner, ())
        return _written_out(closed, rules, values)
    if primitive.name in _BLOCKS and _meets(equation, frozenset(rules)):
        return _BLOCKS[primitive.name](parameters, values, rules)
    bound = primitive.get_bind_params(parameters)
    functions, parameters = bound if isinstance(bound, tuple) else ((), bound)
    with equation.ctx.manager:
        found = primitive.bind(*functions, *values, **parameters)
    return found if primitive.multiple_results else [found]


def _cond(parameters: Mapping[str, Any], values: list[Any], rules: Mapping[str, Callable]) -> Any:
    """A choice between programs, with the rules in each."""
    branches = [
        lambda *arguments, branch=branch: _written_out(branch, rules, arguments)
        for branch in parameters["branches"]
    ]
    return jax.lax.switch(values[0], branches, *values[1:])


def _scan(parameters: Mapping[str, Any], values: list[Any], rules: Mapping[str, Callable]) -> Any:
    """A loop of known length, with the rules in its body."""
    first = parameters["num_consts"]
    last = first + parameters["num_carry"]

    def body(carry, xs):
        outs = _written_out(parameters["jaxpr"], rules, (*values[:first], *carry, *xs))
        return outs[: last - first], outs[last - first :]

    named = {name: parameters[name] for name in ("length", "reverse", "unroll")}
    carry, ys = jax.lax.scan(body, values[first:last], values[last:], **named)
    return [*carry, *ys]


_BLOCKS: Mapping[str, Callable] = MappingProxyType({"cond": _cond, "scan": _scan})
"""Primitives that run programs of their own, and how they do so with rules."""


class Cut(NamedTuple):
    """The last output of a program as a function of its other outputs, the nodes, and its inputs.

    Attributes:
        program: the whole.
        equations: those between nodes and inputs on one side and the last output on the other.
        uses_nodes: whether a node plays a part.
        uses_inputs: for each input of the program, whether it does, but for what nodes are made of.
    """

    program: Program
    equations: tuple[Any, ...]
    uses_nodes: bool
    uses_inputs: tuple[bool, ...]

    def __call__(self, arguments: Sequence[Any], nodes: Sequence[Any]) -> Any:
        """The last output.

        Args:
            arguments: of the program.
            nodes: its other outputs.
        """
        traced = self.program.traced
        *outs, wanted = traced.jaxpr.outvars
        known = _given(traced, arguments)
        known |= {out: node for out, node in zip(outs, nodes, strict=True) if _is_variable(out)}
        _run(self.equations, known, NONE)
        return _value(known, wanted)


def cut(program: Program) -> Cut:
    """Take a program apart where all its outputs but the last are complete.

    Args:
        program: any.

    Returns:
        What leads from there to the last output.
    """
    jaxpr = program.traced.jaxpr
    *outs, wanted = jaxpr.outvars
    nodes = set(filter(_is_variable, outs))
    needed, equations = set(filter(_is_variable, [wanted])), []
    for equation in reversed(jaxpr.eqns):
        if (needed - nodes).intersection(equation.outvars):
            equations.append(equation)
            needed.update(filter(_is_variable, equation.invars))
    uses_inputs = tuple(each in needed and each not in nodes for each in jaxpr.invars)
    return Cut(program, tuple(reversed(equations)), bool(needed & nodes), uses_inputs)


def _is_variable(atom: Any) -> bool:
    """Tell whether an atom of a jaxpr is no literal."""
    return isinstance(atom, jex.Var)


def may_be_rounded(step: Step, h0: Float[Array, " n"], x: Float[Array, " d"]) -> Bool[Array, ""]:
    """Tell whether a derivative by the state that is 0 in floats may be one that is only too small.

    Not so where all that the step makes of its state is linear or chosen by a rectifier, nor where
    it does not depend on its state at all, as with weights of 0; that is looked at where units
    saturate least, at h_0 without an input.

    Args:
        step: the system.
        h0: its start, ``(n,)``.
        x: any input, ``(d,)``.

    Returns:
        A scalar.
    """
    if not saturates(trace(lambda h, x: [step(h, x)], h0, x), 0):
        return jnp.bool_(False)
    # No direction in particular: a Jacobian does not annihilate it by accident.
    direction = jnp.sin(1 + jnp.arange(h0.size, dtype=at_least_float32(h0.dtype))).astype(h0.dtype)
    _, pushed = jax.jvp(lambda h: step(h, jnp.zeros_like(x)), (h0,), (direction,))
    return jnp.any(pushed != 0)


def saturates(program: Program, place: int) -> bool:
    """Tell whether derivatives by an input may be rounded to 0 without being 0.

    Args:
        program: any.
        place: of the input.

    Returns:
        Whether anything made of it meets one of `SATURATING`.
    """
    jaxpr = program.traced.jaxpr
    reached = {jaxpr.invars[place]}
    for equation in jaxpr.eqns:
        if reached.intersection(filter(_is_variable, equation.invars)):
            if _meets(equation, SATURATING):
                return True
            reached.update(equation.outvars)
    return False


def _meets(equation: Any, names: frozenset[str]) -> bool:
    """Tell whether an equation, or any in a program within it, has one of some primitives."""
    inner = jex.jaxprs_in_params(equation.params)
    within = any(_meets(each, names) for jaxpr in inner for each in jaxpr.eqns)
    return equation.primitive.name in names or within


def coarsest(program: Program) -> Any:
    """The float dtype with the fewest digits in which a program computes anything.

    Args:
        program: any.

    Returns:
        The dtype; float64 where there are no floats.
    """
    found = [jnp.dtype(jnp.float64), *_floats(program.traced.jaxpr)]
    return max(found, key=lambda dtype: float(jnp.finfo(dtype).eps))


def _floats(jaxpr: Any) -> Iterator[Any]:
    """The dtypes of all floats that the equations of a jaxpr make."""
    for equation in jaxpr.eqns:
        dtypes = (getattr(out.aval, "dtype", None) for out in equation.outvars)
        yield from (each for each in dtypes if each and jnp.issubdtype(each, jnp.floating))
        for inner in jex.jaxprs_in_params(equation.params):
            yield from _floats(inner)
