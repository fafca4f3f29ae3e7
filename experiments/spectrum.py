"""Measure Lyapunov exponents: one point, or with -m every point of a grid.

python experiments/spectrum.py cell=lstm recurrent_scale=1.5
python experiments/spectrum.py -m +experiment=exponents
python experiments/spectrum.py -m +experiment=logistic
"""

from pathlib import Path

import hydra

from sweep import run
from throughtime.command_line import one_sentence

CONF = str(Path(__file__).resolve().parent.parent / "conf")
main = hydra.main(version_base="1.3", config_path=CONF, config_name="spectrum")(run)

if __name__ == "__main__":
    with one_sentence():
        main()
