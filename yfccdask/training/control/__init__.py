"""A run that outlives its client: the controller on the scheduler, and the client's side of it."""
