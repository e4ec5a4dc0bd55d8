"""Whole experiments from one recipe: trainings and measurements as commands, run in order, and read into one page."""
