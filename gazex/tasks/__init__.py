"""From a visit to examples: one pure function a task. No torch."""
