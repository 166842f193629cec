"""Studies of the literature: one file each, a frozen config with named presets, claims and a figure."""

from ibjax.experiments.compression_generalisation import CompressionGeneralisation
from ibjax.experiments.conduct import claims_markdown, draw, interval, judge, run
from ibjax.experiments.edge_images import EdgeCIFAR10, EdgeMNIST
from ibjax.experiments.experiment import Experiment
from ibjax.experiments.irevnet import Invertible
from ibjax.experiments.noisy_network import NoisyNetworks
from ibjax.experiments.quantised import QuantisedNetworks
from ibjax.experiments.random_labels import RandomLabels
from ibjax.experiments.registry import EXPERIMENTS, study_of
from ibjax.experiments.saxe_activations import SaxeActivations
from ibjax.experiments.saxe_full_batch import SaxeFullBatch
from ibjax.experiments.saxe_irrelevant import SaxeIrrelevant
from ibjax.experiments.saxe_linear import SaxeLinear
from ibjax.experiments.saxe_minimal import SaxeMinimal
from ibjax.experiments.saxe_mnist import SaxeMNIST
from ibjax.experiments.sweeps import make_sweep, read_sweep, run_sweep
from ibjax.experiments.szt import SZT
from ibjax.experiments.szt_batch import SZTBatch
from ibjax.experiments.szt_bins import SZTBins
from ibjax.experiments.szt_bound import SZTBound
from ibjax.experiments.szt_data import SZTData
from ibjax.experiments.szt_depth import SZTDepth
from ibjax.experiments.szt_markov import SZTMarkov
from ibjax.experiments.szt_phases import SZTPhases

__all__ = [
    "EXPERIMENTS",
    "SZT",
    "CompressionGeneralisation",
    "EdgeCIFAR10",
    "EdgeMNIST",
    "Experiment",
    "Invertible",
    "NoisyNetworks",
    "QuantisedNetworks",
    "RandomLabels",
    "SZTBatch",
    "SZTBins",
    "SZTBound",
    "SZTData",
    "SZTDepth",
    "SZTMarkov",
    "SZTPhases",
    "SaxeActivations",
    "SaxeFullBatch",
    "SaxeIrrelevant",
    "SaxeLinear",
    "SaxeMNIST",
    "SaxeMinimal",
    "claims_markdown",
    "draw",
    "interval",
    "judge",
    "make_sweep",
    "read_sweep",
    "run",
    "run_sweep",
    "study_of",
]
