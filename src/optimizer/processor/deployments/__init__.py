"""Deployments: how optimizations become rollouts, and what is asked before."""

from optimizer.processor.deployments.deployments import Deployments as Deployments
from optimizer.processor.deployments.explaining import explain as explain
from optimizer.processor.deployments.gates import Gatekeeper as Gatekeeper
