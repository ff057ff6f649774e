"""Settings: one immutable tree, layered from defaults, file, environment and flags."""

from optimizer.config.fields import Section as Section
from optimizer.config.guards import ApiKey as ApiKey
from optimizer.config.guards import Decisions as Decisions
from optimizer.config.guards import Limits as Limits
from optimizer.config.guards import Security as Security
from optimizer.config.guards import Supervision as Supervision
from optimizer.config.loading import load_settings as load_settings
from optimizer.config.rendering import Change as Change
from optimizer.config.rendering import Difference as Difference
from optimizer.config.rendering import apply_live as apply_live
from optimizer.config.rendering import diff as diff
from optimizer.config.rendering import dump as dump
from optimizer.config.sections import Collector as Collector
from optimizer.config.sections import GrpcApi as GrpcApi
from optimizer.config.sections import Integrations as Integrations
from optimizer.config.sections import Observability as Observability
from optimizer.config.sections import Processor as Processor
from optimizer.config.sections import RestApi as RestApi
from optimizer.config.sections import Service as Service
from optimizer.config.sections import Storage as Storage
from optimizer.config.sections import TlsPort as TlsPort
from optimizer.config.settings import Settings as Settings
from optimizer.config.settings import is_loopback as is_loopback
