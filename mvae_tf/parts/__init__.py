"""The parts that a model is composed from, each in a file of its own."""
