"""The one place that knows which array library holds the data: NumPy, or CuPy on a GPU."""

from yfccdask.backend.arrays import array_module, to_host
from yfccdask.backend.threads import blas_description, use_one_blas_thread

__all__ = ["array_module", "blas_description", "to_host", "use_one_blas_thread"]
