"""Official data sets from their server."""
