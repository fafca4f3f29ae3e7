"""Remedies by name: what each does to gradients and parameters, and what is refused."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bounds import factored, gamma
from flax import nnx
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from throughtime.cells import make_cell
from throughtime.mitigations import MITIGATIONS, Mitigation, combine, make_mitigation
from throughtime.mitigations.projections import largest_singular_value

FILES = sorted((Path(__file__).parent.parent / "conf" / "mitigation").glob("*.yaml"))
TREE = {
    "W": jnp.arange(-3.0, 3.0, dtype=jnp.float64).reshape(2, 3),
    "b": jnp.array([0.5, -4.0], jnp.float64),
}


def passed(mitigation, gradients=TREE, parameters=TREE, seed=0, updates=1):
    """What the transformation makes of the gradients, the last of some updates."""
    transformation = mitigation.gradient(jax.random.key(seed))
    state = transformation.init(parameters)
    for _ in range(updates):
        out, state = transformation.update(gradients, state, parameters)
    return out


def only(mitigation, *fields):
    """Whether the mitigation changes these fields alone."""
    plain = Mitigation()
    return all(
        getattr(mitigation, field) == getattr(plain, field)
        for field in Mitigation._fields
        if field not in fields
    )


def parameters(name="lstm", size=5, scale=3.0, **options):
    cell = make_cell(name, 2, size, recurrent_scale=scale, rngs=nnx.Rngs(0), **options)
    return nnx.state(cell, nnx.Param)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_file_is_a_remedy_with_its_options(file):
    text = file.read_text()
    with initialize_config_dir(str(file.parent), version_base="1.3"):
        composed = OmegaConf.to_container(compose(file.stem))
    ((name, options),) = composed.items()
    assert file.stem.removesuffix("_75") == name  # 75 exponents, as in the paper
    assert text.startswith("# ")
    mitigation = make_mitigation(name, **options)
    changed = {
        "gradient": ["clip", "clip_value", "adaptive_clip", "gradient_noise", "weight_decay"],
        "penalty": ["omega", "orthogonality"],
        "project": ["spectral_norm"],
        "prepare": ["flossing"],
        "window": ["truncate"],
        "dropout": ["dropout"],
    }
    field = next((field for field, names in changed.items() if name in names), "cell_options")
    assert only(mitigation, field)
    assert not only(mitigation)


def test_there_is_a_file_for_every_remedy():
    assert {file.stem for file in FILES} - {"flossing_75"} == set(MITIGATIONS)


def test_clip_keeps_the_direction_and_caps_the_norm():
    norm = float(optax.tree.norm(TREE))
    cut = passed(make_mitigation("clip", max_norm=2.0))
    for key, leaf in cut.items():
        assert np.allclose(leaf, TREE[key] * 2 / norm, rtol=gamma(64), atol=0)
    kept = passed(make_mitigation("clip", max_norm=norm * 1.01))
    assert all(np.array_equal(kept[key], TREE[key]) for key in TREE)


def test_clip_value_cuts_components():
    cut = passed(make_mitigation("clip_value", max_value=1.5))
    assert all(np.array_equal(cut[key], np.clip(TREE[key], -1.5, 1.5)) for key in TREE)


def test_adaptive_clip_keeps_each_unit_in_proportion():
    weights = {"W": jnp.array([[1e-9, 3.0], [0.0, 4.0]]), "b": jnp.array([3.0, 4.0])}
    gradient = {"W": jnp.array([[3.0, 0.3], [4.0, 0.0]]), "b": jnp.array([0.0, -8.0])}
    cut = passed(make_mitigation("adaptive_clip", clipping=0.1), gradient, weights)
    assert np.allclose(cut["W"], [[6e-5, 0.3], [8e-5, 0.0]], rtol=gamma(64), atol=0)
    assert np.allclose(cut["b"], [0.0, -0.5], rtol=gamma(64), atol=0)


@pytest.mark.parametrize("updates", [1, 4])
def test_noise_has_the_variance_of_its_update(updates):
    zeros = {"W": jnp.zeros((200, 200)), "b": jnp.zeros(40000, jnp.float32)}
    noisy = passed(make_mitigation("gradient_noise", eta=0.3, gamma=0.55), zeros, updates=updates)
    variance = 0.3 / updates**0.55
    for leaf in noisy.values():
        leaf = np.asarray(leaf)
        assert abs(leaf.mean()) < 4 * np.sqrt(variance / leaf.size)
        assert abs(leaf.var() / variance - 1) < 4 * np.sqrt(2 / leaf.size)
    assert noisy["b"].dtype == jnp.float32
    assert abs(np.corrcoef(noisy["W"].ravel(), noisy["b"])[0, 1]) < 4 / 200


def test_noise_is_added_anew_and_comes_from_the_key():
    noise = make_mitigation("gradient_noise", eta=1.0, gamma=0.0)
    once, again, twice, other = (
        passed(noise, seed=seed, updates=updates)["W"] - TREE["W"]
        for seed, updates in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    assert np.array_equal(once, again)
    assert not np.any(once == twice)
    assert not np.any(once == other)


def test_weight_decay_is_of_matrices():
    decayed = passed(
        make_mitigation("weight_decay", weight=0.1), jax.tree.map(jnp.zeros_like, TREE)
    )
    assert np.allclose(decayed["W"], 0.1 * TREE["W"], rtol=gamma(2), atol=0)
    assert not np.any(decayed["b"])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_largest_singular_value_is_right_to_rounding(dtype):
    draws = np.random.default_rng(0).normal(size=(4, 24, 24))
    u, s, v = np.linalg.svd(draws[1])
    s[1:3] = s[0] * (
        1 - np.array([1e-5, 0.0])
    )  # no gap: a power iteration would still be on its way
    draws[1] = u * s @ v
    draws[2] = 1e-30 * np.linalg.qr(draws[2])[0]
    draws[3] = np.outer(draws[3, 0], draws[3, 1]) * 1e15
    kernels = jnp.asarray(draws, dtype)
    found = jax.vmap(largest_singular_value)(kernels)
    exact = np.linalg.svd(np.asarray(kernels, np.float64), compute_uv=False)[:, 0]
    assert found.dtype == dtype
    assert np.allclose(found, exact, rtol=gamma(4 * 24, dtype), atol=0)
    assert largest_singular_value(jnp.zeros((3, 3), dtype)) == 0
    assert np.isnan(largest_singular_value(kernels[0].at[0, 0].set(jnp.inf)))


@pytest.mark.parametrize(
    "name",
    ["lstm", "flax_optimized_lstm", pytest.param("flax_lstm", marks=pytest.mark.slow)],
)
def test_spectral_norm_bounds_each_gate_and_touches_nothing_else(name):
    before = parameters(name, initializer="gaussian", dtype=jnp.float64, skip=2)
    flat = nnx.to_flat_state(before)
    for path, leaf in flat:
        if path[-1] == "bias":
            leaf[...] = leaf[...] + 10
    kernels = {path for path, _ in flat if is_recurrent(path)}
    norms = {path: [np.linalg.norm(g, 2) for g in gates(v)] for path, v in flat if path in kernels}
    bound = float(np.median([norm for each in norms.values() for norm in each]))
    after = jax.jit(make_mitigation("spectral_norm", bound=bound).project)(before)
    assert sum(map(len, norms.values())) == 4
    for (path, old), (_, new) in zip(flat, nnx.to_flat_state(after), strict=True):
        if path not in kernels:
            assert np.array_equal(old[...], new[...])
            continue
        for gate, cut, norm in zip(gates(old), gates(new), norms[path], strict=True):
            rounding = {"rtol": factored(1, len(gate)), "atol": 0}
            assert np.allclose(cut, gate * min(1, bound / norm), **rounding)
            assert np.isclose(np.linalg.norm(cut, 2), min(bound, norm), **rounding)


def is_recurrent(path):
    names = {"recurrent_kernel", "dense_h", "hi", "hf", "hg", "ho"}
    return bool(names & set(map(str, path))) and path[-1] != "bias"


def gates(kernel):
    rows, columns = kernel[...].shape
    return np.split(np.asarray(kernel[...]), columns // rows, axis=1)


def test_a_loop_weight_is_a_kernel_and_a_system_has_none():
    neuron = make_mitigation("spectral_norm", bound=0.5).project(parameters("scalar", 1))
    assert neuron["loop_weight"][...] == 0.5
    with pytest.raises(ValueError, match="has no recurrent kernel"):
        make_mitigation("spectral_norm").project(parameters("henon", 2))


def test_what_is_combined_happens_in_the_order_given():
    clip, decay = ("clip", {"max_norm": 1.0}), ("weight_decay", {"weight": 1.0})
    norm = optax.tree.norm(TREE)
    first = passed(combine([clip, decay], "elman"))
    assert np.allclose(first["W"], TREE["W"] / norm + TREE["W"], rtol=gamma(64), atol=0)
    last = passed(combine([decay, clip], "elman"))
    both = {"W": 2 * TREE["W"], "b": TREE["b"]}
    assert np.allclose(last["b"], TREE["b"] / optax.tree.norm(both), rtol=gamma(64), atol=0)


def test_penalties_and_projections_of_several(monkeypatch):
    def made(number):
        return Mitigation(
            penalty=lambda cell, inputs, loss: number * loss(inputs),
            project=lambda parameters: [*parameters, number],
        )

    for number in (2, 3):
        monkeypatch.setitem(MITIGATIONS, f"times_{number}", lambda number=number: made(number))
    both = combine([("times_3", {}), ("clip", {}), ("times_2", {})], "elman")
    assert both.penalty(None, jnp.ones((2, 2, 1)), jnp.sum) == 20
    assert both.project([1]) == [1, 3, 2]


def test_the_rest_is_kept():
    options = {"truncate": {"k1": 2, "k2": 5}, "leaky": {"alpha": 0.5}}
    names = ("truncate", "dropout", "leaky", "spectral_norm", "layer_norm", "flossing")
    rest = combine([(name, options.get(name, {})) for name in names], "lstm")
    assert (rest.window, rest.dropout, rest.penalty) == ((2, 5), 0.5, None)
    assert rest.cell_options == {"leak": 0.5, "layer_norm": True}
    assert (rest.prepare.steps, rest.prepare.learning_rate) == (500, 1e-3)
    assert combine([], "elman") == Mitigation()


@pytest.mark.parametrize(
    ("given", "cell", "sentence"),
    [
        ({"chrono": {"steps": 9}}, "elman", "'chrono' does not apply to cell 'elman': it has no"),
        ({"layer_norm": {}}, "scalar", "'layer_norm' does not apply to cell 'scalar'"),
        ({"layer_norm": {}}, "flax_gru", "it has no option 'layer_norm'."),
        ({"orthogonal": {}}, "scalar", "it has no option 'initializer'."),
        ({"forget_bias": {}}, "elman", "it has no option 'forget_bias'."),
        ({"skip": {"lag": 2}}, "henon", "it has no option 'skip'."),
        (
            {"orthogonal": {}, "clip": {}, "identity": {}},
            "lstm",
            "mitigations 'orthogonal' and 'identity' both set the cell's initializer.",
        ),
        ({"forget_bias": {}, "chrono": {"steps": 9}}, "gru", "both set the cell's gate bias."),
        ({"clip": {}}, "elmann", "unknown cell 'elmann'; did you mean 'elman'?"),
        ({"clipp": {}}, "elman", "unknown mitigation 'clipp'; did you mean 'clip'?"),
        ({"clip": {"norm": 1}}, "elman", "did you mean 'max_norm'?"),
        ({"identity": {"scale": 1}}, "elman", "has no options, not even 'scale'."),
        ({"truncate": {"k1": 3}}, "elman", "mitigation 'truncate' needs 'k2', which has no"),
        ({"truncate": {"k1": 3, "k2": 2}}, "elman", "k2 must be an integer >= 3, not 2."),
        (
            {"clip": {"max_norm": 0}},
            "elman",
            "'clip': max_norm must be a finite number > 0, not 0.",
        ),
        ({"clip": {"max_norm": "1"}}, "elman", "must be a finite number > 0, not '1'."),
        ({"clip_value": {"max_value": float("nan")}}, "elman", "> 0, not nan."),
        ({"omega": {"weight": -1.0}}, "elman", "weight must be a finite number >= 0, not -1.0."),
        ({"forget_bias": {"value": float("inf")}}, "lstm", "must be a finite number, not inf."),
        ({"flossing": {"exponents": 0}}, "elman", "exponents must be an integer >= 1, not 0."),
        ({"flossing": {"steps": True}}, "elman", "steps must be an integer >= 0, not True."),
        ({"leaky": {"alpha": 1.5}}, "elman", "alpha must be at most 1, not 1.5."),
        ({"skip": {"lag": 1}}, "elman", "lag must be an integer >= 2, not 1."),
        ({"dropout": {"rate": 1.0}}, "elman", "rate must be below 1, not 1"),
        ({"chrono": {"steps": 1}}, "lstm", "steps must be a finite number >= 2, not 1."),
    ],
)
def test_what_cannot_be_combined_is_refused_in_one_sentence(given, cell, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        combine(list(given.items()), cell)
    assert "\n" not in str(refused.value)


def test_one_given_twice_is_refused():
    with pytest.raises(ValueError, match="mitigation 'clip' is given twice"):
        combine([("clip", {}), ("clip", {"max_norm": 2})], "elman")
