"""min over θ: recipe, engine, state, and how a training is set up."""
