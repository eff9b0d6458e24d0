"""A profile's settings by key: its files one over the other, what a command sets, and where each value comes from."""
