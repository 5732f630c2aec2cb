// Where questions stand on surfaces such as Slack: one node for each question and surface, whoever asks first. The
// property open is absent on all of which nothing more will be told.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_approval_place_key IF NOT EXISTS FOR (n:ApprovalPlace) REQUIRE n.key IS UNIQUE;
CREATE INDEX rootmend_approval_place_open IF NOT EXISTS FOR (n:ApprovalPlace) ON (n.open);
CREATE INDEX rootmend_approval_place_incident IF NOT EXISTS FOR (n:ApprovalPlace) ON (n.incident_id);
