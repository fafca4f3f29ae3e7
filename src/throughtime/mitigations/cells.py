"""Remedies in the cell: how it is initialised, and what its recurrence is made of."""

from typing import Any

from throughtime.mitigations.mitigation import Mitigation, integer, number


def orthogonal() -> Mitigation:
    """Draw the recurrent kernel of each gate orthogonal, W_gᵀ W_g = g² I.

    Returns:
        The mitigation.

    References:
        Saxe, McClelland, Ganguli 2014, arXiv:1312.6120.
    """
    return Mitigation(cell_options={"initializer": "orthogonal"})


def identity() -> Mitigation:
    """Begin with the identity as the recurrent kernel of each gate, W_g = g I.

    Returns:
        The mitigation.

    References:
        Le, Jaitly, Hinton 2015, arXiv:1504.00941, with rectifiers.
    """
    return Mitigation(cell_options={"initializer": "identity"})


def forget_bias(*, value: Any = 1.0) -> Mitigation:
    """Begin with the gate that keeps the state open: b_f of an LSTM, b_z of a GRU.

    Args:
        value: the bias; the gate alone keeps a state for about 1 + e^value steps.

    Returns:
        The mitigation. For a GRU, `combine` gives the option its name there, ``update_bias``.

    References:
        Gers, Schmidhuber, Cummins 2000; Jozefowicz, Zaremba, Sutskever 2015.
    """
    return Mitigation(cell_options={"forget_bias": number("value", value)})


def chrono(*, steps: Any) -> Mitigation:
    """Begin with gates whose time constants spread up to the longest dependency expected.

    Args:
        steps: T_max >= 2.

    Returns:
        The mitigation.

    References:
        Tallec, Ollivier 2018, arXiv:1804.11188.
    """
    return Mitigation(cell_options={"chrono_steps": number("steps", steps, 2)})


def leaky(*, alpha: Any) -> Mitigation:
    """Let the state follow slowly, s' = (1 − α) s + α cell(s, x).

    Args:
        alpha: α, in (0, 1].

    Returns:
        The mitigation.

    Raises:
        ValueError: if α is out of range.

    References:
        Jaeger, Lukoševičius, Popovici, Siewert 2007, Neural Networks 20, 335.
    """
    alpha = number("alpha", alpha, above=0)
    if alpha > 1:
        raise ValueError(f"alpha must be at most 1, not {alpha}.")
    return Mitigation(cell_options={"leak": alpha})


def skip(*, lag: Any) -> Mitigation:
    """Let the recurrence also see the state of some steps ago; see `SkipCell`.

    Args:
        lag: how many steps, >= 2.

    Returns:
        The mitigation.

    References:
        Lin, Horne, Tiňo, Giles 1996; Zhang et al. 2016, arXiv:1602.08210.
    """
    return Mitigation(cell_options={"skip": integer("lag", lag, 2)})


def layer_norm() -> Mitigation:
    """Normalise the terms of each gate over its units; see `GatedCell`.

    Returns:
        The mitigation.

    References:
        Ba, Kiros, Hinton 2016, arXiv:1607.06450.
    """
    return Mitigation(cell_options={"layer_norm": True})
