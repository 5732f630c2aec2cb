// Which files of policies and runbooks are in force, as the audit trail was told last.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_files_in_force_key IF NOT EXISTS FOR (n:FilesInForce) REQUIRE n.key IS UNIQUE;
