"""What is searched, and what each query finds: the data set itself, folders, or a clip-retrieval service."""
