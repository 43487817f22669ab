"""A command that runs: its folder, progress, processes, how it stops, why it failed, what a resumed one may change."""
