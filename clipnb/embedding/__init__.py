"""From photographs to embeddings, which are kept in the cache."""
