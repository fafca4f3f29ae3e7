"""Hydra's door to throughtime: a launcher and a sweeper, found by their place and name."""
