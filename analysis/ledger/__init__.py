"""Published numbers of the field beside ours: an entry is a yaml in `entries/` with a module of its name."""
