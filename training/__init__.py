"""Headless training: from labelled pairs of scenes to the weights and card of a model."""
