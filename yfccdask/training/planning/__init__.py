"""The plan of a run before anything is launched: chunks, workers, memory, time and disk."""

from yfccdask.training.planning.calibration import Calibration, calibrate, load_calibration
from yfccdask.training.planning.limits import refuse
from yfccdask.training.planning.planner import network_plan, plan, run_plan
from yfccdask.training.planning.records import NetworkPlan, RunPlan, Site
from yfccdask.training.planning.sites import at_addresses, plan_on

__all__ = [
    "Calibration",
    "NetworkPlan",
    "RunPlan",
    "Site",
    "at_addresses",
    "calibrate",
    "load_calibration",
    "network_plan",
    "plan",
    "plan_on",
    "refuse",
    "run_plan",
]
