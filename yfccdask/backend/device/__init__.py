"""Arrays on a GPU: what numerics asks of a device, its kernels and its matrix products.

Only `yfccdask.backend.device.cuda` knows CuPy; everything else speaks of a `Library`, so that the
kernels' own source can be run without a GPU by the tests.
"""

from yfccdask.backend.device.library import HOST, Library, library_for, library_of
from yfccdask.backend.device.products import NAMES, Product, operand_dtype, product
from yfccdask.backend.device.streams import PAST, Event, Stream

__all__ = [
    "HOST",
    "NAMES",
    "PAST",
    "Event",
    "Library",
    "Product",
    "Stream",
    "library_for",
    "library_of",
    "operand_dtype",
    "product",
]
