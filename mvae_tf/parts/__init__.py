"""The parts that a model is composed from: one file for each kind of part."""
