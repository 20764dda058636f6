"""Runs: training into a folder, its checkpoints, its callbacks and its report."""
