"""The information bottleneck of tables: every answer carries the certificate of its optimality."""

from ibjax.bottleneck.agglomerative import Agglomeration, agglomerative
from ibjax.bottleneck.blahut_arimoto import BlahutArimoto, blahut_arimoto
from ibjax.bottleneck.certificate import Gap, optimality_gap
from ibjax.bottleneck.curve import CurvePoint, InformationCurve, SideInformation, curve
from ibjax.bottleneck.deterministic import DeterministicBottleneck, deterministic
from ibjax.bottleneck.encoders import EncoderInformation, encoder_information
from ibjax.bottleneck.gaussian import GaussianBottleneck, gaussian
from ibjax.bottleneck.lanes import METHODS, Status
from ibjax.bottleneck.layers import LayerBound, against_bound
from ibjax.bottleneck.one_step import OneStep, one_step_beta
from ibjax.bottleneck.rate_distortion import ChannelCapacity, RateDistortion, channel_capacity, rate_distortion
from ibjax.bottleneck.reduce import Reduction, reduce
from ibjax.bottleneck.refinement import Refinement, successive_refinement
from ibjax.bottleneck.solve import IBSolution, solve
from ibjax.bottleneck.solve_many import Solutions, solve_many
from ibjax.bottleneck.squared import SquaredBottleneck, squared
from ibjax.bottleneck.squarem import Squarem, squarem
from ibjax.bottleneck.table import Table, as_table
from ibjax.bottleneck.transitions import Transition, local_threshold, transitions

__all__ = [
    "METHODS",
    "Agglomeration",
    "BlahutArimoto",
    "ChannelCapacity",
    "CurvePoint",
    "DeterministicBottleneck",
    "EncoderInformation",
    "Gap",
    "GaussianBottleneck",
    "IBSolution",
    "InformationCurve",
    "LayerBound",
    "OneStep",
    "RateDistortion",
    "Reduction",
    "Refinement",
    "SideInformation",
    "Solutions",
    "SquaredBottleneck",
    "Squarem",
    "Status",
    "Table",
    "Transition",
    "against_bound",
    "agglomerative",
    "as_table",
    "blahut_arimoto",
    "channel_capacity",
    "curve",
    "deterministic",
    "encoder_information",
    "gaussian",
    "local_threshold",
    "one_step_beta",
    "optimality_gap",
    "rate_distortion",
    "reduce",
    "solve",
    "solve_many",
    "squared",
    "squarem",
    "successive_refinement",
    "transitions",
]
