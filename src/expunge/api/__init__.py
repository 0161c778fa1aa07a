"""The verbs of the package: answer a request, train an original, convert and read files."""
