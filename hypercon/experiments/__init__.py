"""Experiments that train encoders and hold the two papers' claims against what comes out."""
