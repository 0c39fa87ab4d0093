"""What the controllers and the node of a cluster would do."""
