"""From a plan to trained layers: the schedule, the loop over an asynchronous client, commits."""
