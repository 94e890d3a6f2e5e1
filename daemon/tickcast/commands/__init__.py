"""One module per command of `tickcast`; each is imported only when its command is run."""
