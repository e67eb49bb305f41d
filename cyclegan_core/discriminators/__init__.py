"""Discriminators in the feature space of a frozen network, and what is shown to them."""
