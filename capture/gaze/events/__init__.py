"""Gaze events: fixations, saccades, post-saccadic oscillations, blinks.

`detection.detect` goes from screen pixels to events in one call. Below it, one algorithm a file (`ivt`, `idt`,
`adaptive`), each from degrees to a label a sample; `blinks` and `filters` clean the signal before; `table` holds the
one result type they share. Numpy alone is enough; numba, where it is installed, makes long recordings faster and
changes no result.
"""
