// Lets each migration be recorded once.
// Parameters: none. Returns: nothing.
// Audit: nothing; the schema of the database, which the trail itself needs first.
CREATE CONSTRAINT rootmend_schema_migration IF NOT EXISTS FOR (n:SchemaMigration) REQUIRE n.version IS UNIQUE
