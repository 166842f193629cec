"""Mutual information from samples: one frozen config an estimator, one pure function each."""

from ibjax.estimators.base import LayerEstimator, LayerInformation
from ibjax.estimators.binning import RANGES, RULES, Binning
from ibjax.estimators.parse import ESTIMATORS, parse

__all__ = ["ESTIMATORS", "RANGES", "RULES", "Binning", "LayerEstimator", "LayerInformation", "parse"]
