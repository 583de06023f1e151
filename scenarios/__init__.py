"""Days and stories: the demo day, later the virtual world and the conformance book."""
