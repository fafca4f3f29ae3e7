"""Job configurations, fast: what is costly is done once for each distinct choice of groups."""

import copy
from collections.abc import Sequence
from functools import cache

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class Composer:
    """Composes jobs as Hydra does, without the ``hydra`` node.

    Hydra applies value overrides after everything is composed, so a copy of what was composed for
    the same groups is where they start from. What fails is kept too: 10,000 jobs with one
    misspelt group are refused as fast as one.

    Args:
        loader: Hydra's config loader.
        master: the multirun's own configuration.
    """

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig):
        self.loader = loader
        self.master = master
        self.parsed = cache(self._parse)
        self.composed = cache(self._compose)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of a job.

        Args:
            overrides: of the job.

        Returns:
            What Hydra's full composition gives.

        Raises:
            HydraException: as Hydra does.
            OmegaConfBaseException: as OmegaConf does.
        """
        structural = tuple(text for text in overrides if not self.parsed(text)[1])
        composed = self.composed(structural)
        if isinstance(composed, Exception):
            raise composed
        config = copy.deepcopy(composed)
        parsed = [self.parsed(text) for text in overrides]
        values = [override for override, is_value in parsed if is_value]
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        return config

    def _parse(self, text: str) -> tuple[Override, bool]:
        """An override, and whether it sets a value in files that are chosen without it."""
        parser = OverridesParser.create(config_loader=self.loader)
        (override,) = parser.parse_overrides([text])
        return override, not _is_structural(self.loader, override)

    def _compose(self, structural: tuple[str, ...]) -> DictConfig | Exception:
        """The configuration of some choices of groups, or why there is none."""
        try:
            full = self.loader.load_sweep_config(self.master, list(structural))
        except (HydraException, OmegaConfBaseException) as error:
            return error
        except ValueError as error:  # what Hydra says of cell=3
            return HydraException(str(error))
        config = OmegaConf.masked_copy(full, [str(key) for key in full if key != "hydra"])
        OmegaConf.set_struct(config, True)
        return config


def _is_structural(loader: ConfigLoaderImpl, override: Override) -> bool:
    """Whether an override may change which files are composed, rather than a value in them.

    All others are applied in the order given, ``+``, ``++`` and ``~`` among them: the last wins.
    """
    if override.package is not None or override.is_hydra_override():
        return True
    is_group = loader.repository.group_exists(override.key_or_group)
    return is_group and not isinstance(override.value(), dict)
