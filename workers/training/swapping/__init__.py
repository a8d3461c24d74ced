"""How does a video get somebody else's face? Followed, forged, composited, marked, written."""
