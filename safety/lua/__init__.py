"""The gate's Lua scripts: one file for each atomic call on the store."""
