"""The mathematics, as pure functions on arrays: no Dask, no files, no clocks."""
