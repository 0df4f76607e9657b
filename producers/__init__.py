"""Sources of finance events: each subpackage reads one kind of system and publishes to the entity topics."""
