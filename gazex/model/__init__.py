"""GazeX's network, its processor and how they lie on disk."""
