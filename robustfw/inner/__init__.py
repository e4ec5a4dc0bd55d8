"""The inner maximum: threat, adversary and problem, the freezing of nets, and the function that solves a batch."""
