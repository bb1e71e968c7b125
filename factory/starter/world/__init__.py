"""The starter world: posed bodies in simple scenes, rendered with their ground truth. See `scene.World.sample`."""
