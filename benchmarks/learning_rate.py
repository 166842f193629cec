"""How the learning rate of the preset ``deck`` was chosen: the lowest training loss, and nothing else.

No source gives the learning rate of the 12-bit study's plain SGD. This script trains every rate of a 1-2-5 grid and
prints the training loss in nats at the last epoch: mean, median and largest over the initialisations. No information is
looked at. Run it with ``python benchmarks/learning_rate.py``; it takes about six minutes on two cores.
"""

import argparse

import numpy as np

from ibjax.experiments import SZT, run
from ibjax.sweep import use_every_core

GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=10_000)
    args = parser.parse_args()
    use_every_core()
    print(f"{args.replicas} initialisations, {args.epochs} epochs, training loss in nats at the end")
    print("learning rate       mean     median    largest")
    for rate in GRID:
        config = SZT(learning_rate=rate, replicas=args.replicas, epochs=args.epochs, snapshots=2)
        loss = run(config, progress=False).train_loss.isel(snapshot=-1).values
        print(f"{rate:13g} {loss.mean():10.2e} {np.median(loss):10.2e} {loss.max():10.2e}", flush=True)


if __name__ == "__main__":
    main()
