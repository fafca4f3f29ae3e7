"""Measure Lyapunov exponents: one point, or with -m every point of a grid.

python experiments/spectrum.py cell=lstm recurrent_scale=1.5
python experiments/spectrum.py -m +experiment=exponents
python experiments/spectrum.py -m +experiment=logistic
"""

from sweep import command
from throughtime.command_line import one_sentence

main = command("spectrum")

if __name__ == "__main__":
    with one_sentence():
        main()
