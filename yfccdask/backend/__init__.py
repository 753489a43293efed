"""The one place that knows which array library holds the data: NumPy, or CuPy on a GPU."""

from yfccdask.backend.arrays import array_module, to_host
from yfccdask.backend.devices import count_devices
from yfccdask.backend.inspection import gpu_facts
from yfccdask.backend.threads import blas_description, use_one_blas_thread

__all__ = [
    "array_module",
    "blas_description",
    "count_devices",
    "gpu_facts",
    "to_host",
    "use_one_blas_thread",
]
