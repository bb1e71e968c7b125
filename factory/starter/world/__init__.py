"""The starter world: posed bodies in simple scenes, rendered with full truth. See `scene.sample`."""
