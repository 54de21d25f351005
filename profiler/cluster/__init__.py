"""A live cluster: one vLLM engine a GPU, driven in real time by the routers that the simulator uses."""
