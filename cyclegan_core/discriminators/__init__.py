"""Discriminators in the feature space of a frozen network, and what is shown to them.

feature_network: EfficientNet-Lite0 up to its eleventh block, frozen.
feature_discriminator: heads on its features, and the discriminators of both kinds together.
augment: what is done to pictures before they are judged.
"""
