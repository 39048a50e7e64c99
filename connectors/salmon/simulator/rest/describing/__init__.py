"""What an org tells of itself: versions, describes, layouts, limits, and the schemas of its events."""
