"""Pages and metrics of the run in training, in the scheduler's own web server.

A page is a few components; each has a root and an update, which is given a bounded reading.
"""
