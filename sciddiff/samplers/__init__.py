"""Samplers: how to draw. Stateless; sampler, time grid and guidance are independent choices."""

from sciddiff.samplers.ancestral import Ancestral as Ancestral
from sciddiff.samplers.base import DenoiseFn as DenoiseFn
from sciddiff.samplers.base import SampleOutput as SampleOutput
from sciddiff.samplers.base import Sampler as Sampler
from sciddiff.samplers.base import Walk as Walk
from sciddiff.samplers.blockwise import Blockwise as Blockwise
from sciddiff.samplers.dpm_solver import DPMSolverPP as DPMSolverPP
from sciddiff.samplers.euler_maruyama import EulerMaruyama as EulerMaruyama
from sciddiff.samplers.euler_maruyama import Reciprocal as Reciprocal
from sciddiff.samplers.flow_map import FlowMap as FlowMap
from sciddiff.samplers.heun import Heun as Heun
from sciddiff.samplers.leaves import Stage as Stage
from sciddiff.samplers.midpoint import Midpoint as Midpoint
from sciddiff.samplers.unmask import ConfidenceUnmask as ConfidenceUnmask
from sciddiff.samplers.unmask import FirstHitting as FirstHitting
from sciddiff.samplers.unmask import reveal_order as reveal_order
