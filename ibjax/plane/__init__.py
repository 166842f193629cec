"""The information plane: what a training run and an estimator say about each other, and its summaries."""

from ibjax.plane.activations import from_activations, read_activations
from ibjax.plane.claims import (
    Claim,
    Rule,
    claims_from_json,
    claims_table,
    claims_to_json,
    greater_than,
    is_preliminary,
    less_than,
    within,
)
from ibjax.plane.clustered import clustered_rank_correlation
from ibjax.plane.convergence import Crossing, censored_median, first_crossing
from ibjax.plane.dead import DEAD_POLICIES, with_dead
from ibjax.plane.encoders import binned_encoder
from ibjax.plane.growth import GrowthExponents, growth_exponents
from ibjax.plane.measure import layer_information
from ibjax.plane.paths import PhaseStatus
from ibjax.plane.phases import Phases, phases
from ibjax.plane.resampling import (
    Estimate,
    PowerLaw,
    bootstrap_interval,
    bounded_mean,
    paired_difference,
    power_law,
    rank_correlation,
    share,
)
from ibjax.plane.schema import VARIABLES, make_plane
from ibjax.plane.snr import SNRTransition, SteepestFall, snr_transition
from ibjax.plane.summary import (
    GRADIENT_VARIANTS,
    Interval,
    gradient_curves,
    masked,
    mean_interval,
    mean_path,
    summary_table,
    surviving,
    violations,
)
from ibjax.plane.trends import LogLine, depth_trend, log_line, mean_rank_correlation, range_of_means

__all__ = [
    "DEAD_POLICIES",
    "GRADIENT_VARIANTS",
    "VARIABLES",
    "Claim",
    "Crossing",
    "Estimate",
    "GrowthExponents",
    "Interval",
    "LogLine",
    "PhaseStatus",
    "Phases",
    "PowerLaw",
    "Rule",
    "SNRTransition",
    "SteepestFall",
    "binned_encoder",
    "bootstrap_interval",
    "bounded_mean",
    "censored_median",
    "claims_from_json",
    "claims_table",
    "claims_to_json",
    "clustered_rank_correlation",
    "depth_trend",
    "first_crossing",
    "from_activations",
    "gradient_curves",
    "greater_than",
    "growth_exponents",
    "is_preliminary",
    "layer_information",
    "less_than",
    "log_line",
    "make_plane",
    "masked",
    "mean_interval",
    "mean_path",
    "mean_rank_correlation",
    "paired_difference",
    "phases",
    "power_law",
    "range_of_means",
    "rank_correlation",
    "read_activations",
    "share",
    "snr_transition",
    "summary_table",
    "surviving",
    "violations",
    "with_dead",
    "within",
]
