"""The practice cluster: keys and accounts, what is applied to it, and how its pods and nodes behave."""
