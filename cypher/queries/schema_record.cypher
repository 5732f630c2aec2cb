// Records that a migration was applied. Two processes that apply the same one meet in the same node.
// Parameters: $version, $name. Returns: nothing.
// Audit: nothing; the schema of the database, which the trail itself needs first.
MERGE (m:SchemaMigration {version: $version})
ON CREATE SET m.name = $name, m.applied_at = datetime.realtime()
