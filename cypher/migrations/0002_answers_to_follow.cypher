// Finds answers whose consequence was not carried out yet; the property is absent on all others.
// Parameters: none. Returns: nothing.
CREATE INDEX rootmend_approval_to_follow IF NOT EXISTS FOR (n:Approval) ON (n.to_follow);
