"""What a request file says, read and checked before anything heavy is imported."""
