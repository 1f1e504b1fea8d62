"""Retrieval: search the data set itself, further folders, or a clip-retrieval service for the results of each query."""
