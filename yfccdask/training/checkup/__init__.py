"""``doctor``: is a machine, and a cluster, fit to train on?"""

from yfccdask.training.checkup.examination import doctor
from yfccdask.training.checkup.findings import FAILURE, OK, WARNING, Finding

__all__ = ["FAILURE", "OK", "WARNING", "Finding", "doctor"]
