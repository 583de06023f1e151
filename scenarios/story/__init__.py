"""Conformance stories: one YAML file a story, played in the virtual house, live, or around somebody else's switch."""
