"""Radiographs from files: read safely, de-identified by a keep-list, decoded once. Plain Python, no Django."""
