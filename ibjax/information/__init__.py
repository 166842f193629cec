"""Information of distributions: exact numbers from tables, never from samples."""

from ibjax.information.joint import JointDistribution
from ibjax.information.maxent import MaximumEntropy, MaximumEntropyStatus, maximum_entropy
from ibjax.information.measures import (
    cross_entropy,
    entropy,
    kl_divergence,
    mutual_information,
    self_information,
)
from ibjax.information.multivariate import (
    conditional_entropy,
    conditional_mutual_information,
    dual_total_correlation,
    interaction_information,
    joint_entropy,
    marginal,
    total_correlation,
)
from ibjax.information.sufficiency import DataProcessing, data_processing, is_sufficient, minimal_sufficient
from ibjax.information.units import UNITS, convert

__all__ = [
    "UNITS",
    "DataProcessing",
    "JointDistribution",
    "MaximumEntropy",
    "MaximumEntropyStatus",
    "conditional_entropy",
    "conditional_mutual_information",
    "convert",
    "cross_entropy",
    "data_processing",
    "dual_total_correlation",
    "entropy",
    "interaction_information",
    "is_sufficient",
    "joint_entropy",
    "kl_divergence",
    "marginal",
    "maximum_entropy",
    "minimal_sufficient",
    "mutual_information",
    "self_information",
    "total_correlation",
]
