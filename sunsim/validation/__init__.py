"""The verb `validate`: what a real engine did with a stream against what the simulator says it does."""
