"""What plugins meet: the registry, and how options are written and read."""
