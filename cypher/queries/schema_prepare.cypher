// Lets each migration be recorded once.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_schema_migration IF NOT EXISTS FOR (n:SchemaMigration) REQUIRE n.version IS UNIQUE
