"""Weather and region from a vehicle's CAN bus; none of this needs ROS.

For example::

    context = CanContext.from_file(Path("config/can_context.yaml"))
    for frame in log_frames(Path("drive.asc")):
        context.add(frame)
    print(context.weather, context.region, context.counts)
"""

from occ_perception_ros.can.context_decoder import CanContext
from occ_perception_ros.can.decoder import CanDecoder, DbcError
from occ_perception_ros.can.estimator import ContextEstimator
from occ_perception_ros.can.frame import CanFrame, SignalValue
from occ_perception_ros.can.rules import ContextRules
from occ_perception_ros.can.rules_file import RulesError, load_rules
from occ_perception_ros.can.sources import CanSourceError, log_frames

__all__ = [
    "CanContext",
    "CanDecoder",
    "CanFrame",
    "CanSourceError",
    "ContextEstimator",
    "ContextRules",
    "DbcError",
    "RulesError",
    "SignalValue",
    "load_rules",
    "log_frames",
]
