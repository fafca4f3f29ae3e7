"""Train networks and watch their gradients: one point, or with -m every point of a grid.

python experiments/train.py task=adding cell=lstm sequence_length=50
python experiments/train.py mitigation=[clip,omega] sequence_length=50
python experiments/train.py -m +experiment=success_by_length
"""

from pathlib import Path

import hydra

from sweep import run
from throughtime.command_line import one_sentence

CONF = str(Path(__file__).resolve().parent.parent / "conf")
main = hydra.main(version_base="1.3", config_path=CONF, config_name="train")(run)

if __name__ == "__main__":
    with one_sentence():
        main()
