"""Mutual information from samples: one frozen config an estimator, one pure function each."""

from ibjax.estimators.base import ADVICE, Estimator, LayerEstimator, LayerInformation, MIEstimate
from ibjax.estimators.binning import RANGES, RULES, Binning
from ibjax.estimators.by_layer import ByLayer
from ibjax.estimators.conditional import conditional_mutual_information
from ibjax.estimators.edge import EDGE, EDGE_RULES
from ibjax.estimators.edge_stream import EDGEState, EDGEStream
from ibjax.estimators.entropy import CORRECTIONS, discrete_entropy
from ibjax.estimators.estimate import mutual_information
from ibjax.estimators.extrapolate import extrapolate
from ibjax.estimators.gaussian import Gaussian, GaussianCopula, gaussian_information, gaussian_layer_information
from ibjax.estimators.kernel import BOUNDS, VARIANCES, KernelBounds
from ibjax.estimators.kozachenko import knn_entropy
from ibjax.estimators.ksg import KSG
from ibjax.estimators.mapping import map  # noqa: A004 - the verb a user looks for
from ibjax.estimators.matrix_renyi import BANDWIDTHS, MatrixRenyi, matrix_entropy
from ibjax.estimators.noisy_gaussian import NoisyGaussian
from ibjax.estimators.noisy_ksg import NoisyKSG
from ibjax.estimators.noisy_weighted_kl import NoisyWeightedKL
from ibjax.estimators.parse import ESTIMATORS, LAYER_ESTIMATORS, parse, parse_layer
from ibjax.estimators.permutation import PermutationTest, permutation_test
from ibjax.estimators.plugin import PlugIn
from ibjax.estimators.quantised import Quantised, quantise
from ibjax.estimators.resample import ERRORS, bootstrap, jackknife, subsampling
from ibjax.estimators.soft_binning import SoftBinning
from ibjax.estimators.weighted_kl import WeightedKL

__all__ = [
    "ADVICE",
    "BANDWIDTHS",
    "BOUNDS",
    "CORRECTIONS",
    "EDGE",
    "EDGE_RULES",
    "ERRORS",
    "ESTIMATORS",
    "KSG",
    "LAYER_ESTIMATORS",
    "RANGES",
    "RULES",
    "VARIANCES",
    "Binning",
    "ByLayer",
    "EDGEState",
    "EDGEStream",
    "Estimator",
    "Gaussian",
    "GaussianCopula",
    "KernelBounds",
    "LayerEstimator",
    "LayerInformation",
    "MIEstimate",
    "MatrixRenyi",
    "NoisyGaussian",
    "NoisyKSG",
    "NoisyWeightedKL",
    "PermutationTest",
    "PlugIn",
    "Quantised",
    "SoftBinning",
    "WeightedKL",
    "bootstrap",
    "conditional_mutual_information",
    "discrete_entropy",
    "extrapolate",
    "gaussian_information",
    "gaussian_layer_information",
    "jackknife",
    "knn_entropy",
    "map",
    "matrix_entropy",
    "mutual_information",
    "parse",
    "parse_layer",
    "permutation_test",
    "quantise",
    "subsampling",
]
