"""Likelihoods: densities by the flow, bounds for tokens, and exact probabilities in an order."""

from sciddiff.likelihood.bound import elbo as elbo
from sciddiff.likelihood.flow import log_prob as log_prob
from sciddiff.likelihood.order import OrderScores as OrderScores
from sciddiff.likelihood.order import order_log_prob as order_log_prob
