"""The recipe: the config, its rounds and steps, and what follows from the specimen."""
