// Notes which files of a kind are in force, unless somebody noted something else since the caller looked.
// Parameters: $key (installation and kind), $seen (digest that the caller saw; empty for none), $digest, $files
//   ["hash name"]. Returns: digest when it was noted.
// Audit: policy.changed, runbook.changed.
MERGE (f:FilesInForce {key: $key})
SET f.written_at = datetime.realtime() // the lock, as in decisions_upsert
WITH f WHERE coalesce(f.digest, '') = $seen
SET f.digest = $digest, f.files = $files, f.since = datetime.realtime()
RETURN f.digest AS digest
