"""Peers import libraries that need not be there: they are run by workers, not collected."""

collect_ignore_glob = ["peers/*"]
