// Which files of a kind are in force, as it was noted last.
// Parameters: $key (installation and kind), $digest (of what the caller has). Returns: digest, files ["hash name"];
//   none where the digest is the caller's.
MATCH (f:FilesInForce {key: $key})
RETURN f.digest AS digest, CASE WHEN f.digest = $digest THEN [] ELSE f.files END AS files
