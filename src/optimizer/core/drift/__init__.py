"""Drift without a deploy: sequential change detection with a declared false-alarm rate."""

from optimizer.core.drift.fingerprint import FingerprintDetector as FingerprintDetector
from optimizer.core.drift.monitor import DriftMonitor as DriftMonitor
from optimizer.core.drift.numeric import RankDetector as RankDetector
from optimizer.core.drift.numeric import ShareDetector as ShareDetector
from optimizer.core.drift.scan import ChangeScan as ChangeScan
from optimizer.core.drift.scan import Shift as Shift
from optimizer.core.drift.values import DriftAlert as DriftAlert
from optimizer.core.drift.values import DriftSettings as DriftSettings
