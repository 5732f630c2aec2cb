// Indexes of this database, those of constraints too.
// Parameters: none. Returns: name, state.
SHOW INDEXES YIELD name, state
RETURN name, state ORDER BY name
