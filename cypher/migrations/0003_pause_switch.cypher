// The pause switch, so that an emptied Redis cannot forget it.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_pause_id IF NOT EXISTS FOR (n:PauseSwitch) REQUIRE n.id IS UNIQUE;
CREATE INDEX rootmend_pause_at IF NOT EXISTS FOR (n:PauseSwitch) ON (n.at);
