"""Who may call which method. A method that is missing here keeps the server from starting."""

from collections.abc import Mapping
from typing import Final

from optimizer.security import Permission

P = Permission  # a table of 95 rows
PUBLIC: Final = None

_OPTIMIZATION = {
    "CreateOptimization": P.OPTIMIZE_WRITE,
    "GetOptimization": P.OPTIMIZE_READ,
    "ListOptimizations": P.OPTIMIZE_READ,
    "DeployOptimization": P.OPTIMIZE_EXECUTE,
    "RollbackOptimization": P.OPTIMIZE_EXECUTE,
    "CancelOptimization": P.OPTIMIZE_EXECUTE,
    "ValidateOptimization": P.OPTIMIZE_WRITE,
    "SubscribeOptimizationEvents": P.OPTIMIZE_READ,
    "BatchCreateOptimizations": P.OPTIMIZE_WRITE,
    "OptimizationSession": P.OPTIMIZE_WRITE,
}
_CONFIG = {
    "GetConfig": P.CONFIG_READ,
    "SetConfig": P.CONFIG_WRITE,
    "DeleteConfig": P.CONFIG_WRITE,
    "ListConfig": P.CONFIG_READ,
    "GetOptimizerConfig": P.CONFIG_READ,
    "UpdateOptimizerConfig": P.ADMIN_WRITE,  # it changes the server for everybody
    "ValidateConfig": P.CONFIG_READ,
    "ExportConfig": P.CONFIG_READ,
    "ImportConfig": P.CONFIG_WRITE,
    "GetConfigVersion": P.CONFIG_READ,
    "ListConfigVersions": P.CONFIG_READ,
    "RevertConfigVersion": P.CONFIG_WRITE,
    "WatchConfig": P.CONFIG_READ,
    "BatchUpdateConfig": P.CONFIG_WRITE,
}
_METRICS = {
    "GetMetrics": P.METRICS_READ,
    "GetPerformanceMetrics": P.METRICS_READ,
    "GetCostMetrics": P.METRICS_READ,
    "GetQualityMetrics": P.METRICS_READ,
    "GetMetricsSummary": P.METRICS_READ,
    "QueryMetrics": P.METRICS_READ,
    "ExportMetrics": P.METRICS_READ,
    "GetMetricsAnalytics": P.METRICS_READ,
    "SubscribeMetrics": P.METRICS_READ,
    "SubscribePerformanceMetrics": P.METRICS_READ,
    "SubscribeCostMetrics": P.METRICS_READ,
    "SubscribeAlerts": P.METRICS_READ,
    "RecordMetrics": P.METRICS_WRITE,
}
_INTEGRATIONS = {
    "CreateIntegration": P.INTEGRATION_WRITE,
    "GetIntegration": P.INTEGRATION_READ,
    "ListIntegrations": P.INTEGRATION_READ,
    "UpdateIntegration": P.INTEGRATION_WRITE,
    "DeleteIntegration": P.INTEGRATION_DELETE,
    "TestIntegration": P.INTEGRATION_WRITE,
    "EnableIntegration": P.INTEGRATION_WRITE,
    "DisableIntegration": P.INTEGRATION_WRITE,
    "HealthCheck": P.INTEGRATION_READ,
    "GetIntegrationMetrics": P.INTEGRATION_READ,
    "SyncData": P.INTEGRATION_WRITE,
    "SubscribeIntegrationEvents": P.INTEGRATION_READ,
}
_HEALTH = {
    "Check": PUBLIC,
    "DetailedHealth": P.SYSTEM_HEALTH,
    "Readiness": PUBLIC,
    "Liveness": PUBLIC,
    "Watch": P.SYSTEM_HEALTH,
}
_ADMIN = {
    "GetSystemStats": P.ADMIN_READ,
    "GetServiceInfo": P.ADMIN_READ,
    "GetDatabaseStats": P.ADMIN_READ,
    "GetCacheStats": P.ADMIN_READ,
    "SetLogLevel": P.ADMIN_WRITE,
    "ClearCache": P.ADMIN_EXECUTE,
    "TriggerGC": P.ADMIN_EXECUTE,
    "ReloadConfig": P.ADMIN_EXECUTE,
    "GetMigrations": P.ADMIN_READ,
    "RunMigrations": P.ADMIN_EXECUTE,
    "RollbackMigrations": P.ADMIN_EXECUTE,
    "ListFeatureFlags": P.ADMIN_READ,
    "SetFeatureFlag": P.ADMIN_WRITE,
    "ListBackgroundJobs": P.ADMIN_READ,
    "CancelBackgroundJob": P.ADMIN_EXECUTE,
    "GracefulShutdown": P.ADMIN_EXECUTE,
    "SubscribeSystemEvents": P.ADMIN_READ,
}
# As over REST, what an application needs (decide, tell how it went) takes one permission.
_FEEDBACK = {
    "RecordFeedback": P.OPTIMIZE_EXECUTE,
    "UploadFeedback": P.OPTIMIZE_EXECUTE,
    "StreamFeedback": P.OPTIMIZE_EXECUTE,
    "RecordScores": P.OPTIMIZE_EXECUTE,
}
_ROUTING = {
    "Decide": P.OPTIMIZE_EXECUTE,
    "DecideStream": P.OPTIMIZE_EXECUTE,
    "PutService": P.OPTIMIZE_WRITE,
    "GetService": P.OPTIMIZE_READ,
    "ListServices": P.OPTIMIZE_READ,
    "GetReport": P.OPTIMIZE_READ,
    "ExplainAssignment": P.OPTIMIZE_READ,
    "ExplainOptimization": P.OPTIMIZE_READ,
    "WatchServices": P.OPTIMIZE_READ,
    "ListAlerts": P.METRICS_READ,
}
_ROLLOUTS = {
    "StartRollout": P.OPTIMIZE_EXECUTE,
    "GetRollout": P.OPTIMIZE_READ,
    "ListRollouts": P.OPTIMIZE_READ,
    "PauseRollout": P.OPTIMIZE_EXECUTE,
    "ResumeRollout": P.OPTIMIZE_EXECUTE,
    "CancelRollout": P.OPTIMIZE_EXECUTE,
    "ApproveRollout": P.OPTIMIZE_EXECUTE,
    "RollbackRollout": P.OPTIMIZE_EXECUTE,
    "GetVerdicts": P.OPTIMIZE_READ,
    "WatchRollouts": P.OPTIMIZE_READ,
}
_TELEMETRY = {"Export": P.OPTIMIZE_EXECUTE}
_SERVICES: Mapping[str, Mapping[str, P | None]] = {
    "llm.optimizer.optimization.OptimizationService": _OPTIMIZATION,
    "llm.optimizer.config.ConfigService": _CONFIG,
    "llm.optimizer.metrics.MetricsService": _METRICS,
    "llm.optimizer.integrations.IntegrationService": _INTEGRATIONS,
    "llm.optimizer.health.HealthService": _HEALTH,
    "llm.optimizer.admin.AdminService": _ADMIN,
    "llm.optimizer.feedback.FeedbackService": _FEEDBACK,
    "llm.optimizer.routing.RoutingService": _ROUTING,
    "llm.optimizer.rollouts.RolloutService": _ROLLOUTS,
    "opentelemetry.proto.collector.trace.v1.TraceService": _TELEMETRY,
    "opentelemetry.proto.collector.logs.v1.LogsService": _TELEMETRY,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": _TELEMETRY,
}

RULES: Mapping[str, P | None] = {
    f"/{service}/{method}": rule for service, methods in _SERVICES.items() for method, rule in methods.items()
}
"""Path of each method to the permission that it needs, or `PUBLIC`."""
