"""The information bottleneck of tables: every answer carries the certificate of its optimality."""

from ibjax.bottleneck.blahut_arimoto import BlahutArimoto, blahut_arimoto
from ibjax.bottleneck.certificate import Gap, optimality_gap
from ibjax.bottleneck.curve import CurvePoint, InformationCurve, curve
from ibjax.bottleneck.gaussian import GaussianBottleneck, gaussian
from ibjax.bottleneck.lanes import METHODS, Status
from ibjax.bottleneck.rate_distortion import ChannelCapacity, RateDistortion, channel_capacity, rate_distortion
from ibjax.bottleneck.reduce import Reduction, reduce
from ibjax.bottleneck.solve import IBSolution, solve
from ibjax.bottleneck.table import Table, as_table
from ibjax.bottleneck.transitions import Transition, local_threshold, transitions

__all__ = [
    "METHODS",
    "BlahutArimoto",
    "ChannelCapacity",
    "CurvePoint",
    "Gap",
    "GaussianBottleneck",
    "IBSolution",
    "InformationCurve",
    "RateDistortion",
    "Reduction",
    "Status",
    "Table",
    "Transition",
    "as_table",
    "blahut_arimoto",
    "channel_capacity",
    "curve",
    "gaussian",
    "local_threshold",
    "optimality_gap",
    "rate_distortion",
    "reduce",
    "solve",
    "transitions",
]
