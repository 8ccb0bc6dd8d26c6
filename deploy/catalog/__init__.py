"""The catalog of models: one YAML file a model, checked, and published to `catalog.models`."""
