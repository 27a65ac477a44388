"""From gaze and sentences to maps, boxes and fixations. No torch."""
