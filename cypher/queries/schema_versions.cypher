// The migrations that this database has seen.
// Parameters: none. Returns: version, name, applied_at; lowest version first.
MATCH (m:SchemaMigration)
RETURN m.version AS version, m.name AS name, m.applied_at AS applied_at
ORDER BY version
