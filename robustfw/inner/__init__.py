"""The inner maximum: threat, adversary, problem, and the net frozen meanwhile."""
