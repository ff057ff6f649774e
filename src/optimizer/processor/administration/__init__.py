"""What operators administer beside the configuration: feature flags and background jobs."""

from optimizer.processor.administration.flags import Flag as Flag
from optimizer.processor.administration.flags import Flags as Flags
from optimizer.processor.administration.jobs import Job as Job
from optimizer.processor.administration.jobs import Jobs as Jobs
from optimizer.processor.administration.jobs import Progress as Progress
