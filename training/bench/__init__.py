"""How fast a whole tile goes through the engine, against its bare parts and against other programs."""
