"""The staggered pipeline as a pure state machine: what trains when, without arrays or clocks."""
