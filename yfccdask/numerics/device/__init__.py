"""The mathematics with a device's kernels and products: launched, never waited for."""
