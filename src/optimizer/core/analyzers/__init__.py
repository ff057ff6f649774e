"""Five analyzers: performance, cost, quality, pattern and anomaly; each observes events and reports when asked."""

from optimizer.core.analyzers.alerts import AlertBook as AlertBook
from optimizer.core.analyzers.anomalies import AnomalyAnalyzer as AnomalyAnalyzer
from optimizer.core.analyzers.anomalies import AnomalySettings as AnomalySettings
from optimizer.core.analyzers.anomalies import AnomalyState as AnomalyState
from optimizer.core.analyzers.budget import Budget as Budget
from optimizer.core.analyzers.budget import Forecast as Forecast
from optimizer.core.analyzers.cost import CostAnalyzer as CostAnalyzer
from optimizer.core.analyzers.cost import CostSettings as CostSettings
from optimizer.core.analyzers.cost import CostState as CostState
from optimizer.core.analyzers.pattern import PatternAnalyzer as PatternAnalyzer
from optimizer.core.analyzers.pattern import PatternSettings as PatternSettings
from optimizer.core.analyzers.pattern import PatternState as PatternState
from optimizer.core.analyzers.performance import PerformanceAnalyzer as PerformanceAnalyzer
from optimizer.core.analyzers.performance import PerformanceSettings as PerformanceSettings
from optimizer.core.analyzers.performance import PerformanceState as PerformanceState
from optimizer.core.analyzers.quality import QualityAnalyzer as QualityAnalyzer
from optimizer.core.analyzers.quality import QualitySettings as QualitySettings
from optimizer.core.analyzers.quality import QualityState as QualityState
from optimizer.core.analyzers.values import Alert as Alert
from optimizer.core.analyzers.values import Insight as Insight
from optimizer.core.analyzers.values import Recommendation as Recommendation
from optimizer.core.analyzers.values import Report as Report
