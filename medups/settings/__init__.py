"""The settings of training: a typed schema, composed by Hydra from ``configs/`` and the user's overrides."""
