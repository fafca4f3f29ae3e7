"""What tests of training share: small networks, and a tanh network in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from throughtime.cells import make_cell
from throughtime.objectives import Network
from throughtime.tasks import Sample

B, T, D, N, K = 2, 7, 2, 3, 2
RATE = 0.125
LAST, EVERY = np.eye(T)[-1], np.linspace(0.1, 0.9, T)
NAMES = ("input_kernel", "recurrent_kernel", "bias")


def compiled(function, *arguments):
    """The function, compiled as trainings are."""
    lowered = jax.jit(function).lower(*arguments)
    return lowered.compile({"xla_backend_optimization_level": 1})


def network(name="elman", size=N, in_features=D, **options):
    """The structure of a cell, and the parameters with a read-out that is not zero."""
    options = {"recurrent_scale": 1.3, "dtype": jnp.float64} | options
    cell = make_cell(name, in_features, size, rngs=nnx.Rngs(0), **options)
    structure, parameters = nnx.split(cell, nnx.Param)
    draws = np.random.default_rng(1)
    kernel, bias = draws.normal(size=(size, K)), draws.normal(size=K)
    return structure, Network(parameters, jnp.asarray(kernel), jnp.asarray(bias))


STRUCTURE, NETWORK = network()


def batch(weights=LAST, seed=0):
    draws = np.random.default_rng(seed)
    inputs, targets = draws.normal(size=(B, T, D)), draws.normal(size=(B, T, K))
    return Sample(*map(jnp.asarray, (inputs, targets, np.tile(weights, (B, 1)))))


def arrays(network):
    """The numbers of a plain network by name."""
    cell = {name: np.array(network.cell[name][...]) for name in NAMES}
    return cell | {"kernel": np.asarray(network.kernel), "read_bias": np.asarray(network.bias)}


def forward(w, xs):
    """h_0 … h_T."""
    states = [np.zeros(N)]
    for x in np.asarray(xs):
        drive = x @ w["input_kernel"] + w["bias"]
        states.append(np.tanh(drive + states[-1] @ w["recurrent_kernel"]))
    return np.array(states)


NEURON, ONE = network("scalar", 1, 1, recurrent_scale=0.5)
ONE = ONE._replace(kernel=jnp.full((1, 1), 2.0), bias=jnp.zeros(1))
