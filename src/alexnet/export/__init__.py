"""A trained model in other programs' forms, each verified in the engine that it is for."""
