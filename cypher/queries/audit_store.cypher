// The identity of the database: a book of anchors may tell of several.
// Parameters: none. Returns: id.
CALL db.info() YIELD id RETURN id
