"""Train networks and watch their gradients: one point, or with -m every point of a grid.

python experiments/train.py task=adding cell=lstm sequence_length=50
python experiments/train.py mitigation=[clip,omega] sequence_length=50
python experiments/train.py -m +experiment=success_by_length
"""

from sweep import command
from throughtime.command_line import one_sentence

main = command("train")

if __name__ == "__main__":
    with one_sentence():
        main()
