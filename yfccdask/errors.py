"""Every error that yfccdask raises on purpose, in one tree.

Each message says what was expected, what was found and what to do. The command line turns
these into one red line and an exit code; anything else is a bug and keeps its traceback.
"""


class YfccdaskError(Exception):
    """Base class: catch this to catch everything that yfccdask raises on purpose."""

    exit_code = 1


class ConfigError(YfccdaskError):
    """A configuration has an unknown key, a wrong type or a value that cannot be."""

    exit_code = 2


class GeometryError(ConfigError):
    """Windows, strides and tiles that do not cover a field exactly."""


class DataError(YfccdaskError):
    """Images, stores or samples that are missing, damaged or do not fit."""


class SamplesUnavailable(DataError):
    """The sample photographs could not be fetched from the package index."""


class StoreError(DataError):
    """A block store that is absent, incomplete, of another version or does not fit."""


class RunError(YfccdaskError):
    """A run folder that exists already, is absent, or holds no commit."""


class DamagedCommit(RunError):
    """A commit whose files do not agree with its manifest."""


class ForeignCommit(DamagedCommit):
    """A commit of another format version: perhaps whole, but not for this yfccdask to judge."""


class DiskFull(RunError):
    """A disk, or a share of one, with no room for what a run has to write."""


class RunHeld(RunError):
    """A run that another process is training already."""


class LostChunk(RunError):
    """A weight chunk whose worker is gone; the run can be resumed from its last commit."""

    exit_code = 75


class Stopped(RunError):
    """A run that was told to stop, by a person or a signal; it can be resumed."""

    exit_code = 75


class Diverged(RunError):
    """Training met an objective that is not finite."""


class ClusterError(YfccdaskError):
    """A Dask cluster that cannot be reached, has no workers, or would be open to anybody."""


class ClusterBusy(ClusterError):
    """A cluster on which another run is in training."""


class VersionMismatch(ClusterError):
    """Client, scheduler and workers run versions that cannot understand each other."""


class DeviceError(YfccdaskError):
    """A GPU that was asked for and cannot be used."""


class PlanRefused(YfccdaskError):
    """What was asked for does not fit the machine; nothing was started."""

    exit_code = 3
