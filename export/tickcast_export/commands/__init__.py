"""The subcommands of the extra `export`, one module each."""
