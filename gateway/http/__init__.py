"""The HTTP door: REST routes, existing clients' vocabularies and the playground."""
