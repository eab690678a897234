"""Flow definitions in YAML; `rank.yml` is the one to start with."""
