"""The simulated cluster: workers, routers, the KV link and the run that ties them together."""
