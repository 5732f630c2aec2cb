// Recorded incidents are read in the order of their decisions, page by page.
// Parameters: none. Returns: nothing.
CREATE INDEX rootmend_decision_decided IF NOT EXISTS FOR (n:Decision) ON (n.decided_at);
